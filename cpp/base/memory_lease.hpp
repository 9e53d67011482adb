// The memory that all threads of a process take for decoding, kept within one budget.
#pragma once

#include <cstdint>
#include <utility>

namespace gs {

// A share of the budget, given back when it goes. Who asks while others wait is served after them, so that a
// large image is not overtaken indefinitely. Nothing is allocated here: a lease is a promise to take no more.
class MemoryLease {
  public:
    MemoryLease() = default;
    ~MemoryLease() { release(); }
    MemoryLease(MemoryLease&& other) noexcept : bytes_(std::exchange(other.bytes_, 0)) {}
    MemoryLease& operator=(MemoryLease&& other) noexcept {
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    MemoryLease(const MemoryLease&) = delete;
    MemoryLease& operator=(const MemoryLease&) = delete;

    // Waits until all leases of the process together stay within `budget` bytes. Throws DecodeError when that
    // cannot be: `bytes` alone are more. A thread that holds a lease already does not wait: it would wait for
    // itself. Not to be called with a lock that others need to give theirs back, Python's among them.
    void take(std::int64_t bytes, std::int64_t budget);
    // Gives all but `bytes` back.
    void shrink(std::int64_t bytes) noexcept;
    void release() noexcept { shrink(0); }
    std::int64_t bytes() const { return bytes_; }

  private:
    std::int64_t bytes_ = 0;
};

// Bytes under lease in this process.
std::int64_t leased_bytes();

}  // namespace gs
