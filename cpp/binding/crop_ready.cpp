// The Python face of the crop-ready recoder and the JPEG cutter.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "bands/png_band_reader.hpp"
#include "binding/common.hpp"
#include "image/inspect.hpp"
#include "jpeg/jpeg_cut.hpp"
#include "recode/recode.hpp"
#include "recode/write_jpeg.hpp"

namespace gs_binding {
namespace {

py::bytes to_bytes(const std::vector<std::uint8_t>& data) {
    return {reinterpret_cast<const char*>(data.data()), data.size()};
}

// The cut and the place of the crop in it; None when the file itself is the answer.
py::tuple crop_jpeg(const py::object& data, std::tuple<int, int, int, int> crop) {
    const HeldBytes held(data.ptr());
    const gs::ByteView bytes = held.view();
    const auto [x, y, width, height] = crop;
    std::vector<std::uint8_t> out;
    gs::Rect inner;
    {
        py::gil_scoped_release release;
        inner = gs::jpeg::cut(bytes, gs::jpeg::read_header(bytes), {x, y, width, height}, out);
    }
    const py::tuple at = py::make_tuple(inner.x, inner.y, inner.width, inner.height);
    if (out.empty()) return py::make_tuple(py::none(), at);
    return py::make_tuple(to_bytes(out), at);
}

py::bytes encode_jpeg(const py::array_t<std::uint8_t, py::array::c_style>& pixels, int quality) {
    if (pixels.ndim() != 3 || pixels.shape(2) != 3 || pixels.size() == 0)
        throw py::value_error("pixels of the shape (height, width, 3) are needed");
    std::vector<std::uint8_t> out;
    {
        const py::gil_scoped_release release;
        out = gs::write_jpeg(pixels.data(), static_cast<int>(pixels.shape(1)),
                             static_cast<int>(pixels.shape(0)), quality);
    }
    return to_bytes(out);
}

gs::RecodeOptions recode_options(int png_level, int band_rows, int tile_width, int interval_width) {
    gs::RecodeOptions options;
    options.png.level = png_level;
    options.png.band_rows = band_rows;
    options.png.tile_width = tile_width;
    options.interval_width = interval_width;
    return options;
}

// The recoded file, or the reason why the original is kept.
py::object make_crop_ready(const py::object& data, int png_level, int band_rows, int tile_width,
                           int interval_width, std::int64_t max_pixels, std::int64_t max_bytes,
                           std::int64_t memory) {
    const HeldBytes held(data.ptr());
    std::vector<std::uint8_t> out;
    const char* reason = nullptr;
    {
        py::gil_scoped_release release;
        reason =
            gs::make_crop_ready(held.view(), recode_options(png_level, band_rows, tile_width, interval_width),
                                {max_pixels, max_bytes, memory}, out);
    }
    if (reason != nullptr) return py::str(reason);
    return to_bytes(out);
}

// Decodes, recodes, decodes the result and compares. Calls use(pixels), a view of (height, width, 3) that
// holds no longer than the call; returns the recoded file, or the reason why the original is kept, the image's
// facts, and the segments of what is to be stored.
py::tuple recode_proven(const py::object& data, const py::function& use, int png_level, int band_rows,
                        int tile_width, int interval_width, std::int64_t max_pixels, std::int64_t max_bytes,
                        std::int64_t memory) {
    // Kept from call to call, and taken away during one: `use` may recode another image on this thread.
    thread_local std::unique_ptr<gs::Recoder> kept;
    const HeldBytes held(data.ptr());
    struct Taken {
        std::unique_ptr<gs::Recoder> recoder = kept ? std::move(kept) : std::make_unique<gs::Recoder>();
        ~Taken() {
            recoder->settle();
            kept = std::move(recoder);
        }
    } taken;
    gs::Recoder& recoder = *taken.recoder;
    std::string reason;
    {
        py::gil_scoped_release release;
        recoder.read(held.view(), {max_pixels, max_bytes, memory});
        try {
            const char* why =
                recoder.recode(recode_options(png_level, band_rows, tile_width, interval_width));
            if (why != nullptr)
                reason = why;
            else if (!recoder.is_proven())
                reason = "the recoded file does not show the same pixels";
        } catch (const gs::DecodeError& error) {
            // It decodes, so it is sound; an oddity that only recoding trips over is no reason to refuse it.
            reason = error.what();
        }
    }
    const gs::ImageInfo& info = recoder.info();
    const py::ssize_t width = info.width, height = info.height;
    use(py::memoryview::from_buffer(static_cast<const std::uint8_t*>(recoder.pixels()),
                                    {height, width, py::ssize_t{3}},
                                    {3 * width, py::ssize_t{3}, py::ssize_t{1}}));
    if (!reason.empty()) return py::make_tuple(py::str(reason), facts(info), png_segments(held.view(), info));
    const auto& file = recoder.file();
    return py::make_tuple(to_bytes(file), facts(info),
                          png_segments({file.data(), file.size()}, recoder.made()));
}

// The proof alone, for tests: whether `file` is an image of the same format that holds what `original` holds.
bool holds_the_same(const py::object& original, const py::object& file, std::int64_t max_pixels,
                    std::int64_t max_bytes, std::int64_t memory) {
    const HeldBytes held(original.ptr()), other(file.ptr());
    py::gil_scoped_release release;
    gs::Recoder recoder;
    recoder.read(held.view(), {max_pixels, max_bytes, memory});
    return recoder.shows_pixels(other.view());
}

// Of a file of which nothing is known.
Segments segments_of(const py::object& data) {
    const HeldBytes held(data.ptr());
    const gs::ByteView bytes = held.view();
    if (gs::sniff(bytes) != gs::Format::png) return std::nullopt;
    gs::ImageInfo info;
    info.format = gs::Format::png;
    info.png = gs::png::read_header(bytes);
    return png_segments(bytes, info);
}

}  // namespace

Segments png_segments(gs::ByteView bytes, const gs::ImageInfo& info) {
    if (info.format != gs::Format::png) return std::nullopt;
    auto found = gs::png::BandReader::positions(bytes, info.png);
    if (found.empty()) return std::nullopt;
    return found;
}

void add_crop_ready(py::module_& m) {
    m.def("encode_jpeg", &encode_jpeg, py::arg("pixels"), py::arg("quality"));
    m.def("crop_jpeg", &crop_jpeg, py::arg("data"), py::arg("crop"));
    m.def("make_crop_ready", &make_crop_ready, py::arg("data"), py::arg("png_level"), py::arg("band_rows"),
          py::arg("tile_width"), py::arg("interval_width"), py::arg("max_pixels"), py::arg("max_bytes"),
          py::arg("memory"));
    m.def("holds_the_same", &holds_the_same, py::arg("original"), py::arg("file"), py::arg("max_pixels"),
          py::arg("max_bytes"), py::arg("memory"));
    m.def("png_segments", &segments_of, py::arg("data"));
    m.def("recode_proven", &recode_proven, py::arg("data"), py::arg("use"), py::arg("png_level"),
          py::arg("band_rows"), py::arg("tile_width"), py::arg("interval_width"), py::arg("max_pixels"),
          py::arg("max_bytes"), py::arg("memory"));
}

}  // namespace gs_binding
