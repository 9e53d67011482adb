// Crop-ready PNGs: the recoded file has the original's pixels, crops have theirs, and a table or a band that
// lies behind right checksums does no harm.
#include "forge.hpp"
#include "recode/crop_ready_png.hpp"
#include "recode/recode.hpp"
#include "support.hpp"

namespace {

// All bytes of all pixels, as any reader of PNGs gets them; nothing when it gets none.
std::optional<std::vector<std::uint8_t>> rows_of(gs::ByteView file) {
    gs::Buffer joined;
    gs::png::Palette palette;
    gs::png::WholeRows reader;
    try {
        const gs::png::Header header = gs::png::read_header(file);
        const gs::png::RowsView view =
            reader.read(header, gs::png::read_chunks(file, header, true, palette, joined));
        std::vector<std::uint8_t> rows;
        for (int y = 0; y < header.height; y++) {
            const std::uint8_t* row = view.data + view.stride * static_cast<std::size_t>(y);
            rows.insert(rows.end(), row, row + header.row_bytes(header.width));
        }
        return rows;
    } catch (const gs::DecodeError&) {
        return std::nullopt;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Parameters p(data, size, fuzz::kParameters);
    const gs::ByteView bytes = p.image();
    const auto info = fuzz::info_of(bytes);
    if (!info || info->format != gs::Format::png) return 0;
    const gs::Rect all{0, 0, info->width, info->height};
    const auto whole = fuzz::pixels_of(bytes, all, true);
    if (!whole) return 0;
    const gs::Rect part = fuzz::any_part(p, *info);
    const gs::PngRecodeOptions options{p.between(0, 9), p.between(1, 40), p.between(0, 40), 0};
    std::vector<std::uint8_t> ready;
    static gs::png::WholeRows original;
    gs::png::RowsView rows;
    if (gs::make_crop_ready_png(bytes, info->png, options, p.byte() % 2 ? whole->data() : nullptr, original,
                                rows, ready) != nullptr)
        return 0;
    const gs::ByteView file{ready.data(), ready.size()};
    FUZZ_CHECK(fuzz::pixels_of(file, all, true) == whole, "recoding changed pixels");
    const auto pixels = fuzz::pixels_of(file, part, true);
    FUZZ_CHECK(pixels && *pixels == fuzz::slice(*whole, info->width, part), "a crop has other pixels");
    static gs::Recoder recoder;
    recoder.read(bytes, fuzz::options(true).limits);
    FUZZ_CHECK(recoder.shows_pixels(file), "the proof fails");
    fuzz::forge(ready, p);
    fuzz::pixels_of({ready.data(), ready.size()}, part, true);
    const gs::ByteView forged{ready.data(), ready.size()};
    // Of plain RGB the pixels are all there is to compare, and the bands all that is read for them.
    const bool same = fuzz::pixels_of(forged, all, true) == whole &&
                      (gs::is_plain_rgb(info->png) || rows_of(forged) == rows_of(bytes));
    FUZZ_CHECK(recoder.shows_pixels(forged) == same, "the proof and a plain comparison differ");
    return 0;
}
