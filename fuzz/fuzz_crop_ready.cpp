// Crop-ready JPEGs: the recoded file has the original's pixels, and a cut decodes to the crop; our encoder
// writes what libjpeg's writes.
#include "jpeg/jpeg_cut.hpp"
#include "recode/crop_ready_jpeg.hpp"
#include "recode/recode.hpp"
#include "support.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Parameters p(data, size, fuzz::kParameters);
    const gs::ByteView bytes = p.image();
    const auto info = fuzz::info_of(bytes);
    if (!info || info->format != gs::Format::jpeg) return 0;
    const gs::Rect all{0, 0, info->width, info->height};
    const auto whole = fuzz::pixels_of(bytes, all, true);
    const gs::Rect part = fuzz::any_part(p, *info);

    const auto check_cut = [&](gs::ByteView file) {
        std::vector<std::uint8_t> cut;
        gs::Rect inner;
        try {
            inner = gs::jpeg::cut(file, gs::jpeg::read_header(file), part, cut);
        } catch (const gs::DecodeError&) {
            return;
        }
        if (cut.empty() || !whole) return;
        const auto pixels = fuzz::pixels_of({cut.data(), cut.size()}, inner, true);
        FUZZ_CHECK(pixels && *pixels == fuzz::slice(*whole, info->width, part),
                   "a cut has other pixels than the crop");
    };
    check_cut(bytes);
    std::vector<std::uint8_t> ready;
    static gs::Recoder recoder;
    try {
        gs::JpegRecoding plan;
        if (gs::plan_crop_ready_jpeg(bytes, info->jpeg, gs::kIntervalWidth, plan) != nullptr) return 0;
        gs::jpeg::ScanEncoder none;
        if (gs::write_crop_ready_jpeg(bytes, plan, nullptr, none, ready) != nullptr) return 0;
    } catch (const gs::DecodeError&) {
        return 0;
    }
    if (whole) {
        recoder.read(bytes, fuzz::options(true).limits);
        FUZZ_CHECK(recoder.recode({}) == nullptr, "libjpeg recodes what is not recoded otherwise");
        FUZZ_CHECK(recoder.file() == ready, "libjpeg writes other bytes");
        FUZZ_CHECK(recoder.is_proven(), "the proof fails");
        std::vector<std::uint8_t> damaged = ready;
        for (int n = p.between(1, 3); n > 0; n--)
            damaged[static_cast<std::size_t>(p.word()) % damaged.size()] ^=
                static_cast<std::uint8_t>(p.byte());
        const gs::ByteView broken{damaged.data(), damaged.size()};
        const auto same = fuzz::info_of(broken);
        const bool shows = same && same->format == info->format && same->width == info->width &&
                           same->height == info->height && fuzz::pixels_of(broken, all, true) == whole;
        FUZZ_CHECK(recoder.shows_pixels(broken) == shows, "the proof and a plain comparison differ");
    }
    if (whole)
        FUZZ_CHECK(fuzz::pixels_of({ready.data(), ready.size()}, all, true) == whole,
                   "recoding changed pixels");
    check_cut({ready.data(), ready.size()});
    return 0;
}
