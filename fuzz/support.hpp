// Shared by the fuzz targets. An input is an image followed by a fixed number of bytes of parameters, so that
// any file with a few bytes appended is a good seed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "base/cpu.hpp"
#include "image/decode.hpp"

namespace fuzz {

// A finding: libFuzzer and the replay driver keep the input of a process that aborts.
#define FUZZ_CHECK(condition, what)                                                         \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            std::fprintf(stderr, "%s:%d: %s [%s]\n", __FILE__, __LINE__, what, #condition); \
            std::abort();                                                                   \
        }                                                                                   \
    } while (0)

constexpr std::size_t kParameters = 48;  // make_seeds.py and png_mutator.cpp know it too

// The parameters at the end of an input, read backwards byte by byte; zeros when they run out.
class Parameters {
  public:
    Parameters(const std::uint8_t* data, std::size_t size, std::size_t most)
        : begin_(data + size - std::min(size, most)),
          at_(data + size),
          image_{data, size - std::min(size, most)} {}
    gs::ByteView image() const { return image_; }
    int byte() { return at_ > begin_ ? *--at_ : 0; }
    int word() {
        const int low = byte();
        return low | byte() << 8;
    }
    // low..high
    int between(int low, int high) { return high <= low ? low : low + word() % (high - low + 1); }

  private:
    const std::uint8_t* begin_;
    const std::uint8_t* at_;
    gs::ByteView image_;
};

// Small, so that the fuzzer spends its time on structure and not on pixels.
inline gs::DecodeOptions options(bool strict) {
    gs::DecodeOptions o;
    o.limits.max_pixels = std::int64_t{1} << 18;
    o.limits.max_bytes = std::int64_t{1} << 20;
    o.strict = strict;
    return o;
}

// Collects rows and insists on the contract: inside the crop, and in memory that can be read.
class Collector : public gs::RowSink {
  public:
    Collector(int width, int height)
        : width_(width), height_(height), pixels(std::size_t{3} * width * height, 0xA5) {
        seen_.assign(static_cast<std::size_t>(height), false);
    }
    void rows(int first, int count, const std::uint8_t* rgb, std::ptrdiff_t stride) noexcept override {
        FUZZ_CHECK(first >= 0 && count >= 0 && first + count <= height_, "rows outside the crop");
        for (int i = 0; i < count; i++) {
            std::memcpy(pixels.data() + std::size_t{3} * width_ * (first + i), rgb + i * stride,
                        std::size_t{3} * width_);
            seen_[static_cast<std::size_t>(first + i)] = true;
        }
    }
    bool complete() const { return std::find(seen_.begin(), seen_.end(), false) == seen_.end(); }

  private:
    int width_, height_;
    std::vector<bool> seen_;

  public:
    std::vector<std::uint8_t> pixels;
};

inline gs::Workspace& workspace() {
    static gs::Workspace one;
    return one;
}

// The pixels of a part, or nothing when the bytes are refused.
inline std::optional<std::vector<std::uint8_t>> pixels_of(gs::ByteView bytes, const gs::Rect& part,
                                                          bool strict, std::string* why = nullptr) {
    Collector collector(part.width, part.height);
    try {
        gs::decode(bytes, gs::inspect(bytes, options(strict).limits), &part, options(strict), workspace(),
                   collector);
    } catch (const gs::DecodeError& error) {
        if (why) *why = error.what();
        return std::nullopt;
    }
    FUZZ_CHECK(collector.complete(), "a decoder left rows out");
    return std::move(collector.pixels);
}

inline std::optional<gs::ImageInfo> info_of(gs::ByteView bytes) {
    try {
        return gs::inspect(bytes, options(true).limits);
    } catch (const gs::DecodeError&) {
        return std::nullopt;
    }
}

inline std::vector<std::uint8_t> slice(const std::vector<std::uint8_t>& pixels, int width,
                                       const gs::Rect& part) {
    std::vector<std::uint8_t> out;
    out.reserve(std::size_t{3} * part.width * part.height);
    for (int y = 0; y < part.height; y++) {
        const auto row = pixels.begin() + std::ptrdiff_t{3} * (std::ptrdiff_t{width} * (part.y + y) + part.x);
        out.insert(out.end(), row, row + std::ptrdiff_t{3} * part.width);
    }
    return out;
}

inline gs::Rect any_part(Parameters& p, const gs::ImageInfo& info) {
    gs::Rect part{};
    part.width = p.between(1, info.width);
    part.height = p.between(1, info.height);
    part.x = p.between(0, info.width - part.width);
    part.y = p.between(0, info.height - part.height);
    return part;
}

// Runs a piece of work at another SIMD level.
template <typename Work>
auto at_level(gs::Simd level, Work work) {
    const gs::Simd before = gs::simd_level();
    gs::set_simd_level(level);
    auto result = work();
    gs::set_simd_level(before);
    return result;
}

// What holds for every format: a crop is a slice of the whole, lenient pixels are the strict ones where those
// exist, every vector path gives the plain path's pixels and its verdict.
inline void check_decoder(Parameters& p) {
    const gs::ByteView bytes = p.image();
    const auto info = info_of(bytes);
    if (!info) {
        FUZZ_CHECK(!pixels_of(bytes, {0, 0, 1, 1}, true), "decoded what cannot be inspected");
        return;
    }
    const gs::Rect all{0, 0, info->width, info->height};
    const gs::Rect part = any_part(p, *info);
    std::string why;
    const auto whole = pixels_of(bytes, all, true, &why);
    const auto cropped = pixels_of(bytes, part, true, &why);
    const auto lenient = pixels_of(bytes, all, false);
    if (whole) {
        FUZZ_CHECK(cropped.has_value(), why.c_str());
        FUZZ_CHECK(*cropped == slice(*whole, info->width, part),
                   "a crop differs from the slice of the whole image");
        FUZZ_CHECK(lenient && *lenient == *whole, "a sound image looks different when read leniently");
    }
    for (const gs::Simd level : {gs::Simd::plain, gs::Simd::ssse3}) {
        if (level >= gs::simd_level()) continue;
        FUZZ_CHECK(at_level(level, [&] { return pixels_of(bytes, all, true); }) == whole,
                   "SIMD paths differ");
        FUZZ_CHECK(at_level(level, [&] { return pixels_of(bytes, all, false); }) == lenient,
                   "SIMD paths differ");
        // whether damage outside the crop is noticed may differ from path to path; what is shown may not
        const auto slow = at_level(level, [&] { return pixels_of(bytes, part, true); });
        if (slow && cropped) FUZZ_CHECK(*slow == *cropped, "SIMD paths differ in a crop");
    }
}

}  // namespace fuzz
