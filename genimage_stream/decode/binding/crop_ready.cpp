// The Python face of the crop-ready recoder and the JPEG cutter.
#include "common.hpp"

#include <pybind11/stl.h>

#include <optional>
#include <tuple>
#include <vector>

#include "core/crop_ready_jpeg.hpp"
#include "core/inspect.hpp"
#include "core/jpeg_cut.hpp"

namespace py = pybind11;

namespace {

gs::ByteView view(const py::buffer_info& info) {
    return {static_cast<const std::uint8_t*>(info.ptr), static_cast<std::size_t>(info.size * info.itemsize)};
}

py::bytes to_bytes(const std::vector<std::uint8_t>& data) {
    return {reinterpret_cast<const char*>(data.data()), data.size()};
}

// The cut and the place of the crop in it; None when the file itself is the answer.
py::tuple crop_jpeg(const py::buffer& data, std::tuple<int, int, int, int> crop) {
    const py::buffer_info buffer = data.request();
    const auto [x, y, width, height] = crop;
    std::vector<std::uint8_t> out;
    gs::Rect inner;
    {
        py::gil_scoped_release release;
        inner = gs::cut_jpeg(view(buffer), {x, y, width, height}, out);
    }
    const py::tuple at = py::make_tuple(inner.x, inner.y, inner.width, inner.height);
    if (out.empty()) return py::make_tuple(py::none(), at);
    return py::make_tuple(to_bytes(out), at);
}

// The recoded file, or the reason why it is to stay as it is.
py::object make_crop_ready(const py::buffer& data) {
    const py::buffer_info buffer = data.request();
    std::vector<std::uint8_t> out;
    const char* reason = nullptr;
    {
        py::gil_scoped_release release;
        const gs::ByteView bytes = view(buffer);
        const gs::Format format = gs::sniff(bytes);
        if (bytes.size == 0) throw gs::DecodeError("the file is empty");
        if (format == gs::Format::jpeg) {
            reason = gs::make_crop_ready_jpeg(bytes, out);
        } else {
            reason = "neither JPEG nor PNG";
        }
    }
    if (reason != nullptr) return py::str(reason);
    return to_bytes(out);
}

}  // namespace

void bind_crop_ready(py::module_& m) {
    m.def("crop_jpeg", &crop_jpeg, py::arg("data"), py::arg("crop"));
    m.def("make_crop_ready", &make_crop_ready, py::arg("data"));
}
