// unwinds WHAT: exceptions, out of a signal handler too, and ends of the C++ runtime.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>

static void throws(int) { throw std::runtime_error("a fault"); }

static void null() { *static_cast<volatile int *>(nullptr) = 1; }

static void from_handler() {
    struct sigaction action = {};
    action.sa_handler = throws;
    action.sa_flags = SA_NODEFER;
    sigaction(SIGSEGV, &action, nullptr);
    for (int i = 0; i < 100; i++) {
        try {
            null();
        } catch (const std::exception &error) {
            if (i == 99) std::printf("caught %s\n", error.what());
        }
    }
}

static void in_threads() {
    std::vector<std::thread> all;
    int caught[20] = {};
    for (int &one : caught)
        all.emplace_back([&one] {
            try { throw 1; } catch (int number) { one = number; }
        });
    for (auto &one : all) one.join();
    int sum = 0;
    for (int one : caught) sum += one;
    std::printf("%d\n", sum);
}

static void own_terminate() {
    std::set_terminate([] { std::puts("terminated"); std::_Exit(6); });
    std::thread([] { throw 1; }).join();
}

int main(int, char **words) {
    const char *what = words[1];
    if (!std::strcmp(what, "from-handler")) from_handler();
    if (!std::strcmp(what, "in-threads")) in_threads();
    if (!std::strcmp(what, "uncaught")) throw std::runtime_error("uncaught");
    if (!std::strcmp(what, "uncaught-in-thread")) std::thread([] { throw std::logic_error("there"); }).join();
    if (!std::strcmp(what, "terminate")) own_terminate();
    if (!std::strcmp(what, "too-large"))
        try { delete[] new char[static_cast<std::size_t>(-1) / 4]; } catch (const std::bad_alloc &) { std::puts("refused"); }
    return 0;
}
