// The Python face of the core: converts arguments, releases the GIL, turns DecodeError into the Python
// exception.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <optional>
#include <tuple>

#include "binding_crop_ready.hpp"
#include "core/decode.hpp"

namespace py = pybind11;

namespace {

class ArraySink : public gs::RowSink {
  public:
    ArraySink(std::uint8_t* to, int width)
        : to_(to), row_bytes_(std::size_t{3} * static_cast<std::size_t>(width)) {}
    void rows(int first, int count, const std::uint8_t* rgb, std::ptrdiff_t stride) noexcept override {
        for (int i = 0; i < count; i++)
            std::memcpy(to_ + row_bytes_ * static_cast<std::size_t>(first + i), rgb + i * stride, row_bytes_);
    }

  private:
    std::uint8_t* to_;
    std::size_t row_bytes_;
};

gs::ByteView view(const py::buffer_info& info) {
    return {static_cast<const std::uint8_t*>(info.ptr), static_cast<std::size_t>(info.size * info.itemsize)};
}

gs::Workspace& workspace() {
    thread_local gs::Workspace one;
    return one;
}

py::array_t<std::uint8_t> decode(const py::buffer& data, std::optional<std::tuple<int, int, int, int>> crop,
                                 bool strict, std::int64_t max_pixels, std::int64_t max_bytes) {
    const py::buffer_info buffer = data.request();
    const gs::ByteView bytes = view(buffer);
    gs::DecodeOptions options;
    options.strict = strict;
    options.limits = {max_pixels, max_bytes};
    const gs::ImageInfo info = gs::inspect(bytes, options.limits);
    gs::Rect part{0, 0, info.width, info.height};
    if (crop) part = {std::get<0>(*crop), std::get<1>(*crop), std::get<2>(*crop), std::get<3>(*crop)};
    if (part.width < 1 || part.height < 1) throw std::out_of_range("the crop is empty");
    py::array_t<std::uint8_t> out({part.height, part.width, 3});
    ArraySink sink(out.mutable_data(), part.width);
    {
        py::gil_scoped_release release;
        gs::decode(bytes, &part, options, workspace(), sink);
    }
    return out;
}

py::tuple inspect(const py::buffer& data, std::int64_t max_pixels, std::int64_t max_bytes) {
    const gs::ImageInfo i = gs::inspect(view(data.request()), {max_pixels, max_bytes});
    return py::make_tuple(gs::format_name(i.format), i.mode, i.width, i.height, i.bit_depth, i.jpeg_quality,
                          i.progressive);
}

}  // namespace

PYBIND11_MODULE(_core, m) {
    py::register_exception<gs::DecodeError>(m, "DecodeError", PyExc_ValueError);
    m.def("decode", &decode, py::arg("data"), py::arg("crop"), py::arg("strict"), py::arg("max_pixels"),
          py::arg("max_bytes"));
    m.def("inspect", &inspect, py::arg("data"), py::arg("max_pixels"), py::arg("max_bytes"));
    bind_crop_ready(m);
}
