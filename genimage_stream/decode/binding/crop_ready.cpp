// The Python face of the crop-ready recoder and the JPEG cutter.
#include <pybind11/stl.h>

#include <optional>
#include <tuple>
#include <vector>

#include "common.hpp"
#include "core/crop_ready_jpeg.hpp"
#include "core/crop_ready_png.hpp"
#include "core/inspect.hpp"
#include "core/jpeg_cut.hpp"

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
        inner = gs::cut_jpeg(bytes, {x, y, width, height}, out);
    }
    const py::tuple at = py::make_tuple(inner.x, inner.y, inner.width, inner.height);
    if (out.empty()) return py::make_tuple(py::none(), at);
    return py::make_tuple(to_bytes(out), at);
}

// The recoded file, or the reason why it is to stay as it is.
py::object make_crop_ready(const py::object& data, int png_level, int band_rows, int tile_width,
                           std::int64_t max_pixels, std::int64_t max_bytes) {
    const HeldBytes held(data.ptr());
    const gs::ByteView bytes = held.view();
    std::vector<std::uint8_t> out;
    const char* reason = nullptr;
    {
        py::gil_scoped_release release;
        const gs::Limits limits{max_pixels, max_bytes};
        gs::inspect(bytes, limits);
        const gs::Format format = gs::sniff(bytes);
        if (format == gs::Format::jpeg)
            reason = gs::make_crop_ready_jpeg(bytes, out);
        else if (format == gs::Format::png)
            reason = gs::make_crop_ready_png(bytes, {png_level, band_rows, tile_width, 64}, limits, out);
        else
            reason = "neither JPEG nor PNG";
    }
    if (reason != nullptr) return py::str(reason);
    return to_bytes(out);
}

}  // namespace

void add_crop_ready(py::module_& m) {
    m.def("crop_jpeg", &crop_jpeg, py::arg("data"), py::arg("crop"));
    m.def("make_crop_ready", &make_crop_ready, py::arg("data"), py::arg("png_level"), py::arg("band_rows"),
          py::arg("tile_width"), py::arg("max_pixels"), py::arg("max_bytes"));
}

}  // namespace gs_binding
