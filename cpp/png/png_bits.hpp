// The bits of a deflate stream, read from memory eight bytes at a time without a bounds check per read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/types.hpp"

namespace gs::png {

// The part of a reader that an inner loop keeps in registers.
struct BitBuffer {
    std::uint64_t bits = 0;  // the next bits, from the lowest; those beyond `count` may be set too (rightly)
    unsigned count = 0;
    const std::uint8_t* in = nullptr;

    // At least 56 bits are there afterwards. Reads 8 bytes and moves on by up to 7.
    void refill() {
        std::uint64_t next;
        std::memcpy(&next, in, sizeof next);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        next = __builtin_bswap64(next);
#endif
        bits |= next << count;
        in += (63 - count) >> 3;
        count |= 56;
    }

    // Drops the lowest n bits; only the lowest 6 bits of `n` count, as in a table's entry.
    void drop(unsigned n) {
        bits >>= n & 63;
        count -= n & 63;
    }

    unsigned peek(unsigned n) const {
        return static_cast<unsigned>(bits) & ((1U << n) - 1);
    }

    unsigned take(unsigned n) {
        const unsigned value = peek(n);
        drop(n);
        return value;
    }
};

// A stream may be refilled kRefills times after a check that is_safe(); then the check must be made again,
// and reach_tail() called when it fails. The last bytes of the stream are read from a copy that zeros follow,
// so that the same code can read them; overran() tells whether any of those zeros was used.
class BitReader : public BitBuffer {
  public:
    static constexpr int kRefills = 4;

    void start(ByteView stream) {
        bits = 0;
        count = 0;
        in = from_ = stream.data;
        before_ = 0;
        end_ = stream.data + stream.size;
        in_tail_ = false;
        if (stream.size >= kReach)
            safe_ = end_ - kReach;
        else
            reach_tail();
    }

    bool is_safe() const { return in <= safe_; }
    const std::uint8_t* safe() const { return safe_; }

    // False when the stream is over.
    bool reach_tail() {
        if (in_tail_) return !overran();
        align_in();
        const std::size_t left = bytes_left();
        std::memset(tail_, 0, sizeof tail_);
        if (left > 0) std::memcpy(tail_, in, left);
        before_ += static_cast<std::size_t>(in - from_);
        in = from_ = tail_;
        end_ = tail_ + left;
        safe_ = end_ + 8;
        in_tail_ = true;
        return true;
    }

    // More bits were used than there are.
    bool overran() const { return in - (count >> 3) > end_; }

    // Bits of the stream that were used.
    std::size_t position() const { return (before_ + static_cast<std::size_t>(in - from_)) * 8 - count; }

    // Drops the rest of a byte of which a part was used, and goes back to the first byte of which none was.
    void align() {
        align_in();
        bits = 0;
        count = 0;
    }

    // Bytes of which no bit has been looked at.
    std::size_t bytes_left() const { return in < end_ ? static_cast<std::size_t>(end_ - in) : 0; }

  private:
    static constexpr std::size_t kReach = 7 * kRefills + 8;

    void align_in() {
        in -= count >> 3;
        count &= 7;
        bits &= (std::uint64_t{1} << count) - 1;
    }

    const std::uint8_t* safe_ = nullptr;
    const std::uint8_t* end_ = nullptr;
    bool in_tail_ = false;
    const std::uint8_t* from_ = nullptr;  // where reading began, and the bytes of the stream before that
    std::size_t before_ = 0;
    // What may be left when reading stops to be safe, then where reading may stop to be safe again
    // and its reach.
    std::uint8_t tail_[kReach + 8 + 8 + kReach];
};

}  // namespace gs::png
