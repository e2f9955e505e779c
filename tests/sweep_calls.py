"""Calls of real packages, each small and the same every time: what `make sweep` refuses allocations in.

A call imports what it needs: its first calls, before anything is refused, have loaded it.
"""

import io
import json
import sqlite3

ROWS = [{"id": number, "name": f"n{number}", "half": number / 2, "tags": ["a", "b"]} for number in range(4)]
TEXT = json.dumps(ROWS)
_kept: dict[str, object] = {}


def orjson_loads():
    import orjson

    return orjson.loads(TEXT)


def orjson_dumps():
    import orjson

    return orjson.dumps(ROWS)


def ujson_loads():
    import ujson

    return ujson.loads(TEXT)


def ujson_dumps():
    import ujson

    return ujson.dumps(ROWS)


def simplejson_loads():
    import simplejson

    return simplejson.loads(TEXT)


def simplejson_dumps():
    import simplejson

    return simplejson.dumps(ROWS)


def sqlite3_query():
    with sqlite3.connect(":memory:") as base:
        base.execute("create table t (id integer primary key, name text)")
        base.executemany("insert into t values (?, ?)", [(row["id"], row["name"]) for row in ROWS])
        found = base.execute("select name, count(*) from t group by name order by 1 desc").fetchall()
    base.close()
    return found


def msgpack_both():
    import msgpack

    return msgpack.unpackb(msgpack.packb(ROWS))


def zlib_both():
    import zlib

    return zlib.decompress(zlib.compress(TEXT.encode()))


def lzma_both():
    import lzma

    return lzma.decompress(lzma.compress(TEXT.encode()))


def yaml_load():
    import yaml

    return yaml.load("a: [1, 2]\nb: {c: d}\n", Loader=yaml.CSafeLoader)


def yaml_dump():
    import yaml

    return yaml.dump({"a": [1, 2]}, Dumper=yaml.CSafeDumper)


def lxml_parse():
    from lxml import etree

    return etree.tostring(etree.fromstring("<a><b c='d'>e</b><b/></a>"))


def lxml_transform():
    from lxml import etree

    if "xslt" not in _kept:
        sheet = "<x:stylesheet version='1.0' xmlns:x='http://www.w3.org/1999/XSL/Transform'>"
        sheet += "<x:template match='/'><r><x:value-of select='//b'/></r></x:template></x:stylesheet>"
        _kept["xslt"] = etree.XSLT(etree.fromstring(sheet)), etree.fromstring("<a><b>c</b></a>")
    transform, page = _kept["xslt"]
    return str(transform(page))


def lxml_validate():
    from lxml import etree

    if "schema" not in _kept:
        text = "<s:schema xmlns:s='http://www.w3.org/2001/XMLSchema'><s:element name='a' type='s:int'/></s:schema>"
        _kept["schema"] = etree.fromstring(text), etree.fromstring("<a>3</a>")
    schema, page = _kept["schema"]
    return etree.XMLSchema(schema).validate(page)


def _image():
    from PIL import Image

    if "image" not in _kept:
        _kept["image"] = Image.radial_gradient("L").resize((32, 32)).convert("RGB")
    return _kept["image"]


def pillow_png():
    from PIL import Image

    file = io.BytesIO()
    _image().save(file, "PNG")
    return Image.open(io.BytesIO(file.getvalue())).tobytes()


def pillow_jpeg():
    from PIL import Image

    file = io.BytesIO()
    _image().save(file, "JPEG")
    return Image.open(io.BytesIO(file.getvalue())).tobytes()


def pillow_quantize():
    return _image().quantize(8).tobytes()


def numpy_sort():
    import numpy

    return numpy.sort(numpy.arange(64)[::-1].reshape(8, 8) % 7, axis=1).tolist()


def numpy_text():
    import numpy

    return numpy.array2string(numpy.linspace(0, 1, 5))


def opencv_resize():
    import cv2
    import numpy

    cv2.setNumThreads(1)
    return cv2.resize(numpy.arange(64, dtype=numpy.uint8).reshape(8, 8), (16, 16)).tobytes()


def opencv_contours():
    import cv2
    import numpy

    cv2.setNumThreads(1)
    board = numpy.zeros((16, 16), numpy.uint8)
    board[4:12, 4:12] = 255
    found, _ = cv2.findContours(board, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [one.tolist() for one in found]


def h5py_write():
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w") as book:
        book["a"] = [1, 2, 3]
        book["a"].attrs["unit"] = "m"
    return len(file.getvalue())


def regex_compile():
    import regex

    regex.purge()
    return regex.compile(r"(?P<w>[a-f]+|\d{2,3})*x").fullmatch("ab12x") is not None


def regex_find():
    import regex

    return [one.group() for one in regex.finditer(r"n\d", TEXT)]


def greenlet_switch():
    from greenlet import getcurrent, greenlet

    mine = getcurrent()
    return [greenlet(mine.switch).switch(number) for number in range(3)]


def cryptography_verify():
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    if "key" not in _kept:
        key = ec.derive_private_key(12345, ec.SECP256R1())
        _kept["key"] = key.public_key(), key.sign(b"text", ec.ECDSA(hashes.SHA256()))
    public, signature = _kept["key"]
    return public.verify(signature, b"text", ec.ECDSA(hashes.SHA256()))


def cffi_call():
    import cffi

    if "cffi" not in _kept:
        maker = cffi.FFI()
        maker.cdef("size_t strlen(const char *text);")
        _kept["cffi"] = maker, maker.dlopen(None)
    maker, library = _kept["cffi"]
    return library.strlen(maker.new("char[]", b"four"))
