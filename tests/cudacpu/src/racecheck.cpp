// Finds data races in kernels: with -fsanitize=thread the compiler calls the functions below at every memory access. They
// replace ThreadSanitizer's own runtime (the program is linked without it), which knows nothing of blocks and barriers.
//
// Two accesses to a byte race if at least one writes, not both are atomic (or volatile), different threads of the same
// launch make them, and no barrier that both threads pass lies between: for threads of a block the number of barriers
// passed must differ, for lanes of a warp the number of warp functions, for different blocks the number of grid barriers.
// Accesses of different blocks that hold the same spin lock (atomicCAS 0 -> 1, back to 0) don't race.
// Accesses of device memory outside a live allocation end the program. MIT licence.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>

#include "executor.h"

namespace cudacpu {
namespace {

struct Access {
    unsigned launch = 0, block = 0, rank = 0, epoch = 0, grid_epoch = 0, warp_epoch = 0;
    bool atomic = false;
    const void* lock = nullptr;
    const void* where = nullptr;
};
struct Cell {  // what is known of one or several bytes
    Access write, reads[2];  // two readers in different threads are enough to see a conflict with any writer
};
constexpr std::uintptr_t WORD = 4, PAGE = 1024;
struct Word {  // of WORD bytes, by themselves as soon as one of them is accessed without the others
    Cell whole;
    std::unique_ptr<Cell[]> bytes;
    Cell& byte(std::uintptr_t i) {
        if (!bytes) {
            bytes.reset(new Cell[WORD]);
            for (std::uintptr_t k = 0; k < WORD; k++) bytes[k] = whole;
        }
        return bytes[i];
    }
};
struct Page { Word words[PAGE / WORD]; };

std::unordered_map<std::uintptr_t, std::unique_ptr<Page>> pages;
std::uintptr_t last_number = ~std::uintptr_t(0);
Page* last_page = nullptr;
std::map<unsigned, const void*> locks;  // that a block holds
std::set<std::pair<const void*, const void*>> reported;
int count = 0;
bool busy = false;
const long LIMIT = std::getenv("CUDACPU_RACES") ? std::atol(std::getenv("CUDACPU_RACES")) : 20;

Word& word(std::uintptr_t address) {
    std::uintptr_t number = address / PAGE;
    if (number != last_number) {
        auto& p = pages[number];
        if (!p) p.reset(new Page);
        last_page = p.get();
        last_number = number;
    }
    return last_page->words[address % PAGE / WORD];
}

// Calls f(cell, address) for all that is known of n bytes, until it says false
template <class F> void each_cell(const void* p, std::size_t n, F f) {
    std::uintptr_t at = (std::uintptr_t)p, end = at + n;
    while (at < end) {
        Word& w = word(at);
        if (at % WORD || end - at < WORD) {
            if (!f(w.byte(at % WORD), at)) return;
            at++;
            continue;
        }
        if (!w.bytes) {
            if (!f(w.whole, at)) return;
        } else
            for (std::uintptr_t k = 0; k < WORD; k++)
                if (!f(w.bytes[k], at + k)) return;
        at += WORD;
    }
}

bool conflict(const Access& a, const Access& b) {  // a came before b
    if (a.launch != b.launch || (a.atomic && b.atomic)) return false;
    if (a.block != b.block) return a.grid_epoch == b.grid_epoch && !(a.lock && a.lock == b.lock);
    if (a.rank == b.rank) return false;
    if (a.epoch != b.epoch) return false;
    return !(a.rank / 32 == b.rank / 32 && a.warp_epoch != b.warp_epoch);
}

void report(const char* kind, const Access& a, const Access& b, std::uintptr_t address) {
    if (!reported.insert({a.where, b.where}).second || count >= LIMIT) return;
    count++;
    std::fflush(stdout);
    std::fprintf(stderr, "CUDACPU RACE in kernel %s (launch %u), %s, %s memory at %p:\n", kernel_name, b.launch, kind,
                 on_device((void*)address) ? "device" : "other", (void*)address);
    const Access* both[] = {&a, &b};
    for (const Access* x : both) {
        std::fprintf(stderr, "  block %u thread %u%s after %u barriers: %s\n", x->block, x->rank, x->atomic ? " (atomic)" : "",
                     x->epoch, position(x->where).c_str());
    }
    static const bool ends = std::getenv("CUDACPU_RACE_ENDS") != nullptr;  // of a program that has no end of its own
    if (ends) {
        std::fflush(nullptr);
        std::_Exit(66);
    }
}

void access(const void* p, std::size_t n, bool write, bool atomic, const void* where) {
    if (!current || busy || on_stack(p)) return;
    busy = true;
    check_range(p, n, write ? "a write" : "a read");
    const void* lock = nullptr;
    if (!locks.empty()) {
        auto it = locks.find(current->block_number);
        if (it != locks.end() && write && it->second == p) locks.erase(it);  // a plain or volatile store releases the lock
        else if (it != locks.end()) lock = it->second;
    }
    const Access now{launch_number, current->block_number, current->rank, current->epoch, current->grid_epoch,
                     current->warp_epoch, atomic, lock, where};
    each_cell(p, n, [&](Cell& c, std::uintptr_t address) {
        bool good = !conflict(c.write, now);
        if (!good) report(write ? "write after write" : "read after write", c.write, now, address);
        if (write) {
            for (Access& r : c.reads)
                if (good && conflict(r, now)) {
                    report("write after read", r, now, address);
                    good = false;
                }
            c.write = now;
        } else {
            Access& first = c.reads[0];
            bool same = first.launch == now.launch && first.block == now.block && first.rank == now.rank;
            if (first.launch != now.launch || same) first = now;
            else if (c.reads[1].launch != now.launch || c.reads[1].epoch != now.epoch || first.block == c.reads[1].block)
                c.reads[1] = now;
        }
        return good;
    });
    busy = false;
}

struct Start {
    Start() {
        atomic_hook = [](const void* p, std::size_t n, const void* where) { access(p, n, true, true, where); };
        fresh_hook = [](const void* p, std::size_t n) {
            each_cell(p, n, [](Cell& c, std::uintptr_t) { return c = Cell(), true; });
        };
        lock_hook = [](const void* p, bool taken) {
            if (!current) return;
            if (taken) locks[current->block_number] = p;
            else locks.erase(current->block_number);
        };
    }
    ~Start() {
        std::fprintf(stderr, "CUDACPU RACES: %zu\n", reported.size());
        if (!reported.empty()) {
            std::fflush(nullptr);
            std::_Exit(66);
        }
    }
} start;

}  // namespace
}  // namespace cudacpu

#define HERE __builtin_return_address(0)
#define SIZES(n)                                                                                                       \
    void __tsan_read##n(void* p) { cudacpu::access(p, n, false, false, HERE); }                                        \
    void __tsan_write##n(void* p) { cudacpu::access(p, n, true, false, HERE); }                                        \
    void __tsan_unaligned_read##n(void* p) { cudacpu::access(p, n, false, false, HERE); }                              \
    void __tsan_unaligned_write##n(void* p) { cudacpu::access(p, n, true, false, HERE); }                              \
    void __tsan_volatile_read##n(void* p) { cudacpu::access(p, n, false, true, HERE); }                                \
    void __tsan_volatile_write##n(void* p) { cudacpu::access(p, n, true, true, HERE); }                                \
    void __tsan_unaligned_volatile_read##n(void* p) { cudacpu::access(p, n, false, true, HERE); }                      \
    void __tsan_unaligned_volatile_write##n(void* p) { cudacpu::access(p, n, true, true, HERE); }
extern "C" {
SIZES(1)
SIZES(2)
SIZES(4)
SIZES(8)
SIZES(16)
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_read_range(void* p, unsigned long n) { cudacpu::access(p, n, false, false, HERE); }
void __tsan_write_range(void* p, unsigned long n) { cudacpu::access(p, n, true, false, HERE); }
// C++ atomics of the standard library, in host code only
unsigned char __tsan_atomic8_load(const volatile unsigned char* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
int __tsan_atomic32_load(const volatile int* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
long __tsan_atomic64_load(const volatile long* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
void __tsan_atomic32_store(volatile int* p, int v, int) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
void __tsan_atomic64_store(volatile long* p, long v, int) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
int __tsan_atomic32_fetch_add(volatile int* p, int v, int) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); }
int __tsan_atomic32_fetch_sub(volatile int* p, int v, int) { return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST); }
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
}
