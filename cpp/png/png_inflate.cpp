#include "png/png_inflate.hpp"

#include <libdeflate.h>
#include <zlib.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <new>

namespace gs::png {
namespace {

constexpr int kMaxLiterals = 286, kMaxDistances = 30;

}  // namespace

void Inflater::start(ByteView stream, std::uint8_t* out) {
    reader_.start(stream);
    begin_ = out_ = out;
    step_ = Step::header;
    begun_ = is_last_ = false;
}

// Before reading up to 56 bits outside of the inner loop. False when the stream is over.
bool Inflater::refill() {
    if (!reader_.is_safe() && !reader_.reach_tail()) return false;
    reader_.refill();
    return true;
}

bool Inflater::read_block_header() {
    if (!refill()) return false;
    if (!begun_) {
        begun_ = true;
        const unsigned method = reader_.take(8), flags = reader_.take(8);
        // Deflate, a window of up to 32 KiB, no preset dictionary.
        if ((method & 15) != 8 || method >> 4 > 7 || (method << 8 | flags) % 31 != 0 || (flags & 32) != 0)
            return false;
    }
    block_ = reader_.position();
    is_last_ = reader_.take(1) != 0;
    switch (reader_.take(2)) {
        case 0: {
            reader_.align();
            if (!refill()) return false;
            const unsigned size = reader_.take(16), check = reader_.take(16);
            if ((size ^ check) != 0xffff) return false;
            reader_.align();
            stored_left_ = size;
            step_ = Step::stored;
            return true;
        }
        case 1:
            step_ = Step::coded;
            return set_fixed_codes();
        case 2:
            step_ = Step::coded;
            return read_codes();
        default:
            return false;
    }
}

bool Inflater::set_fixed_codes() {
    if (fixed_codes_) return true;
    std::uint8_t lengths[288], distances[32];
    std::fill_n(lengths, 144, std::uint8_t{8});
    std::fill_n(lengths + 144, 112, std::uint8_t{9});
    std::fill_n(lengths + 256, 24, std::uint8_t{7});
    std::fill_n(lengths + 280, 8, std::uint8_t{8});
    std::fill_n(distances, 32, std::uint8_t{5});
    fixed_codes_ = tables_.build(lengths, 288, distances, 32, false);
    return fixed_codes_;
}

// RFC 1951, section 3.2.7, with the limits that zlib sets.
bool Inflater::read_codes() {
    static constexpr std::uint8_t kOrder[19] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                11, 4,  12, 3, 13, 2, 14, 1, 15};
    const int literals = static_cast<int>(reader_.take(5)) + 257,
              distances = static_cast<int>(reader_.take(5)) + 1;
    const int coded = static_cast<int>(reader_.take(4)) + 4;
    if (literals > kMaxLiterals || distances > kMaxDistances) return false;
    std::uint8_t code_lengths[19] = {};
    for (int i = 0; i < coded; i++) {
        if (i % 16 == 0 && !refill()) return false;
        code_lengths[kOrder[i]] = static_cast<std::uint8_t>(reader_.take(3));
    }
    Entry table[1 << kLengthCodeBits];
    if (!build_length_code(code_lengths, table)) return false;

    std::uint8_t lengths[kMaxLiterals + kMaxDistances];
    const int total = literals + distances;
    for (int i = 0; i < total;) {
        if (!refill()) return false;
        // Three symbols of at most 7 + 7 bits to a refill.
        for (int n = 0; n < 3 && i < total; n++) {
            const Entry entry = table[reader_.peek(kLengthCodeBits)];
            reader_.drop(entry);
            const int symbol = static_cast<int>(entry >> kBaseShift);
            if (symbol < 16) {
                lengths[i++] = static_cast<std::uint8_t>(symbol);
                continue;
            }
            if (symbol == 16 && i == 0) return false;
            const std::uint8_t value = symbol == 16 ? lengths[i - 1] : std::uint8_t{0};
            const int repeat = symbol == 16   ? 3 + static_cast<int>(reader_.take(2))
                               : symbol == 17 ? 3 + static_cast<int>(reader_.take(3))
                                              : 11 + static_cast<int>(reader_.take(7));
            if (repeat > total - i) return false;
            std::fill_n(lengths + i, repeat, value);
            i += repeat;
        }
    }
    if (lengths[256] == 0) return false;  // the block could not end
    fixed_codes_ = false;
    // Joining costs about as much as it saves in a block of this size.
    const bool several = reader_.bytes_left() > 4096;
    return tables_.build(lengths, literals, lengths + literals, distances, several);
}

void Inflater::copy_stored(const std::uint8_t* limit) {
    const std::size_t room = static_cast<std::size_t>(limit - out_);
    const std::size_t n = std::min({stored_left_, room, reader_.bytes_left()});
    std::memcpy(out_, reader_.in, n);
    out_ += n;
    reader_.in += n;
    stored_left_ -= n;
}

bool Inflater::checksum_is_right() {
    reader_.align();
    if (!refill()) return false;
    std::uint32_t sum = 0;
    for (int i = 0; i < 4; i++) sum = sum << 8 | reader_.take(8);
    return libdeflate_adler32(1, begin_, size()) == sum;
}

Inflater::Status Inflater::inflate_beyond(std::size_t wanted) {
    const std::uint8_t* const limit = begin_ + wanted + 1;
    while (true) {
        switch (step_) {
            case Step::header:
                if (!read_block_header()) return failed(Status::damaged);
                break;
            case Step::stored:
                if (out_ >= limit) return Status::more;
                copy_stored(limit);
                if (stored_left_ == 0)
                    step_ = is_last_ ? Step::trailer : Step::header;
                else if (reader_.bytes_left() == 0)
                    return Status::truncated;
                break;
            case Step::coded:
                switch (decode_symbols(reader_, tables_, begin_, out_, limit)) {
                    case SymbolsEnd::limit:
                        return reader_.overran() ? Status::truncated : Status::more;
                    case SymbolsEnd::input:
                        if (!reader_.reach_tail()) return Status::truncated;
                        break;
                    case SymbolsEnd::end_of_block:
                        if (reader_.overran()) return Status::truncated;
                        step_ = is_last_ ? Step::trailer : Step::header;
                        break;
                    case SymbolsEnd::damaged:
                        return failed(Status::damaged);
                }
                break;
            case Step::trailer:
                if (!checksum_is_right() || reader_.overran()) return failed(Status::damaged);
                step_ = Step::done;
                break;
            case Step::done:
                return Status::done;
        }
    }
}

bool Inflater::find_last_block(ByteView blocks, std::uint8_t* out, std::size_t size, std::size_t& begin,
                               std::size_t& end) {
    start(blocks, out);
    begun_ = true;
    const std::uint8_t* const limit = out + size + 1;
    while (step_ != Step::trailer) {
        if (step_ == Step::header) {
            if (!read_block_header()) return false;
        } else if (step_ == Step::stored) {
            copy_stored(limit);
            if (stored_left_ > 0) return false;
            step_ = is_last_ ? Step::trailer : Step::header;
        } else {
            const SymbolsEnd why = decode_symbols(reader_, tables_, begin_, out_, limit);
            if (why == SymbolsEnd::input && reader_.reach_tail()) continue;
            if (why != SymbolsEnd::end_of_block) return false;
            step_ = is_last_ ? Step::trailer : Step::header;
        }
    }
    begin = block_;
    end = reader_.position();
    return !reader_.overran() && this->size() == size;
}

std::size_t inflate_partially(ByteView stream, std::uint8_t* out, std::size_t wanted) {
    z_stream z{};
    if (inflateInit(&z) != Z_OK) throw std::bad_alloc();
    std::size_t in = 0, done = 0;
    int status = Z_OK;
    while (status == Z_OK && done < wanted) {
        const std::size_t in_part = std::min<std::size_t>(stream.size - in, UINT_MAX);
        const std::size_t out_part = std::min<std::size_t>(wanted - done, UINT_MAX);
        z.next_in = const_cast<Bytef*>(stream.data + in);
        z.avail_in = static_cast<uInt>(in_part);
        z.next_out = out + done;
        z.avail_out = static_cast<uInt>(out_part);
        status = ::inflate(&z, Z_NO_FLUSH);
        in += in_part - z.avail_in;
        done += out_part - z.avail_out;
    }
    inflateEnd(&z);
    return done;
}

}  // namespace gs::png
