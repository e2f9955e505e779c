"""Names of functions as a person reads them, whatever compiler has written them."""

import pytest

from harness.refusals.stacks import is_by_design
from harness.refusals.symbols import plain

NAMES = {
    "write": "write",
    "write@@GLIBC_2.2.5": "write",
    "parse.part.0": "parse",
    "_Znwm": "operator new",
    "_ZL5innerv": "inner",
    "_ZN4geos9geomgraph11PlanarGraphC2Ev": "geos::geomgraph::PlanarGraph::PlanarGraph",
    "_ZN4geos9geomgraph11PlanarGraphD1Ev": "geos::geomgraph::PlanarGraph::~PlanarGraph",
    "_ZZN8pybind1112cpp_function4initEvENUlvE_4_FUNEv": "pybind11::cpp_function::init",
    "_ZN6bcrypt14_hash_password17h0123456789abcdefE": "bcrypt::_hash_password",
    "_ZN58_$LT$alloc..string..String$u20$as$u20$core..fmt..Write$GT$9write_str17h0123456789abcdefE": (
        "<alloc::string::String as core::fmt::Write>::write_str"
    ),
    "_RNvMs9_NtCsdSw67uGfh3A_6__cbor27decoderNtB5_11CBORDecoder4read": "_cbor2::decoder::CBORDecoder::read",
    "_RNvNtCs9k3SxhrAWiO_3std7process5abort": "std::process::abort",
    "_RNvXs0_NvMs_NtNtCs6i54tJFfzR_5alloc3ffi5c_strNtBa_7CString3newReNtB5_11SpecNewImpl13spec_new_impl": (
        "alloc::ffi::c_str::CString::new::SpecNewImpl::spec_new_impl"
    ),
    "_RINvNtCs1_4core3ptr9drop_glueAhj10_ECs2_4mine": "core::ptr::drop_glue::mine",
}


@pytest.mark.parametrize("symbol", NAMES)
def test_a_symbol_is_read(symbol: str) -> None:
    """No hash of a compiler's is left, so that a finding keeps its name when that changes."""
    assert plain(symbol) == NAMES[symbol]


@pytest.mark.parametrize(
    "symbol",
    ["", "_R", "_RNv", "_READY2go", "_RN2ab9", "_Z", "_ZN", "_ZN9", "_ZZZZ", "_ZN" + "9" * 6000, "_R" + "9" * 6000],
)
def test_what_is_no_name_is_kept(symbol: str) -> None:
    """A name may be cut, of another language, or a swept process's own invention."""
    assert plain(symbol) == symbol


def test_the_hash_of_a_crate_does_not_count() -> None:
    """The same function by two compilers has one name."""
    assert plain("_RNvCs9k3SxhrAWiO_3abc3run") == plain("_RNvCsdSw67uGfh3A_3abc3run") == "abc::run"


@pytest.mark.parametrize(
    ("function", "ends"),
    [
        ("alloc::alloc::handle_alloc_error", True),
        ("std::alloc::rust_oom", True),
        ("std::panicking::rust_panic_with_hook", True),
        ("alloc::alloc::dealloc", False),
        ("core::ptr::drop_glue::alloc::vec::Vec::alloc::alloc::Global", False),
    ],
)
def test_what_ends_a_rust_program_on_purpose(function: str, ends: bool) -> None:
    """An allocation error or a panic does; what only handles memory, or names its allocator, does not."""
    assert is_by_design([f"mine.so!{function}"]) is ends


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        ("memory allocation of 40 bytes failed\nstack backtrace:\n", True),
        ("terminate called after throwing an instance of 'std::bad_alloc'\n", True),
        ("PANIC: unprotected error in call to Lua API (not enough memory)\n", True),
        ("malloc(): invalid size (unsorted)\n", False),
        ("mine: the memory allocation of 40 bytes failed, and I go on\n", False),
    ],
)
def test_last_words_tell_where_a_stack_has_no_names(words: str, ends: bool) -> None:
    """A stripped library that aborts on purpose says so; one whose heap is damaged says that."""
    assert is_by_design(["mine.so+0x48ce89"], words) is ends
