// Crops of PNGs that are fetched in parts: the pixels are the slice of a full decode, bytes that were not
// fetched are not touched (they are poisoned), and damage is found or does not matter.
#include <sanitizer/asan_interface.h>

#include "base/lazy_bytes.hpp"
#include "forge.hpp"
#include "recode/crop_ready_png.hpp"
#include "support.hpp"

namespace {

// A file of which the decoder has only what it asked for.
class Parts : public gs::LazyBytes {
  public:
    Parts(gs::ByteView file, std::size_t head) : LazyBytes(head), file_(file), there_(file.size + 64) {
        std::memset(there_.data(), 0xC3, there_.size());
        ASAN_POISON_MEMORY_REGION(there_.data(), there_.size());
        need(0, std::min(head, file.size));
    }
    ~Parts() override { ASAN_UNPOISON_MEMORY_REGION(there_.data(), there_.size()); }
    Parts(const Parts&) = delete;
    Parts& operator=(const Parts&) = delete;

    void need(std::size_t begin, std::size_t end) override {
        FUZZ_CHECK(begin <= end && end <= file_.size, "bytes outside of the file are asked for");
        // Bytes at the borders stay open: poison has a grain of eight.
        ASAN_UNPOISON_MEMORY_REGION(there_.data() + begin, end - begin);
        std::memcpy(there_.data() + begin, file_.data + begin, end - begin);
    }
    gs::ByteView view() const { return {there_.data(), file_.size}; }

  private:
    gs::ByteView file_;
    std::vector<std::uint8_t> there_;
};

std::optional<std::vector<std::uint8_t>> fetched_pixels(gs::ByteView file, std::size_t head,
                                                        const gs::Rect& part) {
    Parts parts(file, head);
    fuzz::Collector collector(part.width, part.height);
    gs::DecodeOptions options = fuzz::options(true);
    options.lazy = file.size > head ? &parts : nullptr;
    try {
        const gs::ImageInfo info = gs::inspect(parts.view(), options.limits);
        gs::decode(parts.view(), info, &part, options, fuzz::workspace(), collector);
    } catch (const gs::DecodeError&) {
        return std::nullopt;
    }
    FUZZ_CHECK(collector.complete(), "a decoder left rows out");
    return std::move(collector.pixels);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Parameters p(data, size, fuzz::kParameters);
    const gs::ByteView bytes = p.image();
    const auto info = fuzz::info_of(bytes);
    if (!info || info->format != gs::Format::png) return 0;
    const auto whole = fuzz::pixels_of(bytes, {0, 0, info->width, info->height}, true);
    const gs::Rect part = fuzz::any_part(p, *info);
    const auto head = static_cast<std::size_t>(p.between(64, 1000));
    std::vector<std::uint8_t> file(bytes.data, bytes.data + bytes.size);
    if (!whole) {
        fetched_pixels(bytes, head, part);
        return 0;
    }
    const auto want = fuzz::slice(*whole, info->width, part);
    FUZZ_CHECK(fetched_pixels(bytes, head, part) == want, "an ordinary file gives other pixels in parts");

    const gs::PngRecodeOptions options{p.between(0, 9), p.between(1, 40), p.between(0, 40), 0};
    std::vector<std::uint8_t> ready;
    static gs::png::WholeRows original;
    gs::png::RowsView rows;
    if (gs::make_crop_ready_png(bytes, info->png, options, whole->data(), original, rows, ready) != nullptr)
        return 0;
    FUZZ_CHECK(fetched_pixels({ready.data(), ready.size()}, head, part) == want,
               "a crop read in parts has other pixels");

    // Accidental damage: whatever is shown all the same is right, for checksums tell.
    std::vector<std::uint8_t> damaged = ready;
    const int kind = p.byte() % 4;
    if (kind == 0) {
        damaged.resize(static_cast<std::size_t>(p.word()) % damaged.size());
    } else if (kind == 1) {  // bytes lost or doubled
        const auto at = static_cast<std::ptrdiff_t>(static_cast<std::size_t>(p.word()) % damaged.size());
        if (p.byte() % 2)
            damaged.erase(damaged.begin() + at);
        else
            damaged.insert(damaged.begin() + at, damaged[static_cast<std::size_t>(at)]);
    } else {  // a burst of up to 32 bits, which no CRC-32 misses
        const std::size_t at = static_cast<std::size_t>(p.word()) % damaged.size();
        for (std::size_t i = at; i < std::min(damaged.size(), at + 4); i++)
            damaged[i] = static_cast<std::uint8_t>(damaged[i] ^ p.byte());
    }
    const gs::ByteView broken{damaged.data(), damaged.size()};
    const auto same = fuzz::info_of(broken);
    if (same && same->width == info->width && same->height == info->height) {
        const auto shown = fetched_pixels(broken, head, part);
        if (shown) FUZZ_CHECK(*shown == want, "damage shows");
    }

    // A forger's table may show other pixels, but reads nothing that is not there.
    fuzz::forge(ready, p);
    fetched_pixels({ready.data(), ready.size()}, head, part);
    return 0;
}
