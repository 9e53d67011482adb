#include "base/memory_lease.hpp"

#include <fcntl.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <string>

#include "base/memory_sharing.hpp"
#include "base/types.hpp"

namespace gs {
namespace {

struct Ledger {
    std::atomic<std::int64_t> used{0};
    std::atomic<int> waiting{0};
    std::mutex mutex;
    std::condition_variable changed;
    std::int64_t next_turn = 0, turn = 0;  // of those that wait, guarded by the mutex

    bool try_take(std::int64_t bytes, std::int64_t budget) {
        std::int64_t now = used.load();
        do {
            if (now + bytes > budget) return false;
        } while (!used.compare_exchange_weak(now, now + bytes));
        return true;
    }
};

// The child of a fork begins with a new ledger: the threads whose leases the old one counts stayed with the
// parent.
std::atomic<Ledger*> ledger{nullptr};
thread_local int held_here = 0;

void begin_anew() {
    ledger = new Ledger;
    held_here = 0;
}

// When the core is loaded, not at first use: the child of a fork in that moment would wait for the thread that was
// about to do it, forever.
[[maybe_unused]] const bool ready = [] {
    begin_anew();
    pthread_atfork(nullptr, nullptr, &begin_anew);
    return true;
}();

Ledger& current() {
    return *ledger.load(std::memory_order_relaxed);
}

// Sharing with other processes: the file that is locked, from how many bytes on, and such leases here.
std::atomic<int> shared_file{-1};
std::atomic<std::int64_t> shared_from{std::numeric_limits<std::int64_t>::max()};
std::atomic<int> large_here{0};

void set_lock(short kind) {
    struct flock all {};
    all.l_type = kind;
    all.l_whence = SEEK_SET;
    while (fcntl(shared_file, F_SETLKW, &all) != 0 && errno == EINTR) {
    }
}

std::string megabytes(std::int64_t bytes) {
    return std::to_string((bytes + 999999) / 1000000) + " MB";
}

}  // namespace

void MemoryLease::take(std::int64_t bytes, std::int64_t budget) {
    release();
    if (bytes > budget)
        throw DecodeError("decoding it may take " + megabytes(bytes) + " of memory, more than the limit of " +
                          megabytes(budget) +
                          " for all threads: raise Limits(memory=...) if the image is meant");
    Ledger& all = current();
    if (held_here > 0) {
        all.used += bytes;
    } else if (all.waiting > 0 || !all.try_take(bytes, budget)) {
        std::unique_lock<std::mutex> lock(all.mutex);
        all.waiting++;
        const std::int64_t mine = all.next_turn++;
        all.changed.wait(lock, [&] { return all.turn == mine && all.try_take(bytes, budget); });
        all.turn++;
        all.waiting--;
        all.changed.notify_all();
    }
    bytes_ = bytes;
    held_here += bytes > 0;
    if (bytes > shared_from && large_here++ == 0) set_lock(F_WRLCK);
}

void MemoryLease::shrink(std::int64_t bytes) noexcept {
    if (bytes >= bytes_) return;
    Ledger& all = current();
    if (bytes_ > shared_from && bytes <= shared_from && --large_here == 0) set_lock(F_UNLCK);
    all.used -= bytes_ - bytes;
    if (bytes == 0 && held_here > 0) held_here--;
    bytes_ = bytes;
    if (all.waiting > 0) {
        const std::lock_guard<std::mutex> lock(all.mutex);
        all.changed.notify_all();
    }
}

void share_leases(int file, std::int64_t from) {
    shared_file = file;
    shared_from = from;
}

std::int64_t leased_bytes() {
    return current().used;
}

}  // namespace gs
