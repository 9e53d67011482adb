// One image at a time, on the calling thread.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <optional>
#include <tuple>

#include "base/memory_sharing.hpp"
#include "base/row_sinks.hpp"
#include "binding/common.hpp"
#include "image/decode.hpp"

namespace gs_binding {
namespace {

// Decodes with what this thread keeps from image to image. To be called without the GIL.
void decode_here(gs::ByteView bytes, const gs::ImageInfo& info, const gs::Rect* part,
                 const gs::DecodeOptions& options, gs::RowSink& sink) {
    thread_local gs::Workspace workspace;
    const gs::SettleAfter settle{workspace};
    gs::decode(bytes, info, part, options, workspace, sink);
}

gs::DecodeOptions options_of(bool strict, std::int64_t max_pixels, std::int64_t max_bytes,
                             std::int64_t memory) {
    gs::DecodeOptions options;
    options.strict = strict;
    options.limits = {max_pixels, max_bytes, memory};
    return options;
}

py::array_t<std::uint8_t> decoded(const HeldBytes& held, const gs::ImageInfo& info,
                                  const std::optional<std::tuple<int, int, int, int>>& crop,
                                  const gs::DecodeOptions& options) {
    gs::Rect part{0, 0, info.width, info.height};
    if (crop) part = {std::get<0>(*crop), std::get<1>(*crop), std::get<2>(*crop), std::get<3>(*crop)};
    // Checked here too, because the array is made before the decoder sees the crop.
    if (part.x < 0 || part.y < 0 || part.width < 1 || part.height < 1 || part.x > info.width - part.width ||
        part.y > info.height - part.height)
        throw std::out_of_range("the crop is not inside the image of " + std::to_string(info.width) + "x" +
                                std::to_string(info.height));
    py::array_t<std::uint8_t> out({part.height, part.width, 3});
    gs::CopyRows sink(out.mutable_data(), part.width);
    {
        py::gil_scoped_release release;
        decode_here(held.view(), info, &part, options, sink);
    }
    return out;
}

py::array_t<std::uint8_t> decode(const py::object& data,
                                 const std::optional<std::tuple<int, int, int, int>>& crop, bool strict,
                                 std::int64_t max_pixels, std::int64_t max_bytes, std::int64_t memory) {
    const HeldBytes held(data.ptr());
    const gs::DecodeOptions options = options_of(strict, max_pixels, max_bytes, memory);
    return decoded(held, gs::inspect(held.view(), options.limits), crop, options);
}

// All pixels, strictly, the facts, and the segments.
py::tuple decode_with_facts(const py::object& data, std::int64_t max_pixels, std::int64_t max_bytes,
                            std::int64_t memory) {
    const HeldBytes held(data.ptr());
    const gs::DecodeOptions options = options_of(true, max_pixels, max_bytes, memory);
    const gs::ImageInfo info = gs::inspect(held.view(), options.limits);
    return py::make_tuple(decoded(held, info, std::nullopt, options), facts(info),
                          png_segments(held.view(), info));
}

py::tuple inspect(const py::object& data, std::int64_t max_pixels, std::int64_t max_bytes) {
    const HeldBytes held(data.ptr());
    gs::Limits limits;
    limits.max_pixels = max_pixels;
    limits.max_bytes = max_bytes;
    return facts(gs::inspect(held.view(), limits));
}

py::tuple check(const py::object& data, std::int64_t max_pixels, std::int64_t max_bytes,
                std::int64_t memory) {
    const HeldBytes held(data.ptr());
    const gs::DecodeOptions options = options_of(true, max_pixels, max_bytes, memory);
    const gs::ImageInfo info = gs::inspect(held.view(), options.limits);
    gs::NoRows sink;
    {
        py::gil_scoped_release release;
        decode_here(held.view(), info, nullptr, options, sink);
    }
    return facts(info);
}

}  // namespace

py::tuple facts(const gs::ImageInfo& i) {
    return py::make_tuple(gs::format_name(i.format), i.mode, i.width, i.height, i.bit_depth, i.jpeg_quality,
                          i.progressive, i.chroma);
}

void add_image(py::module_& m) {
    m.def("decode", &decode, py::arg("data"), py::arg("crop"), py::arg("strict"), py::arg("max_pixels"),
          py::arg("max_bytes"), py::arg("memory"));
    m.def("decode_with_facts", &decode_with_facts, py::arg("data"), py::arg("max_pixels"),
          py::arg("max_bytes"), py::arg("memory"));
    m.def("inspect", &inspect, py::arg("data"), py::arg("max_pixels"), py::arg("max_bytes"));
    m.def("check", &check, py::arg("data"), py::arg("max_pixels"), py::arg("max_bytes"), py::arg("memory"));
    py::class_<gs::MemoryLease>(m, "MemoryLease")
        .def(py::init([](std::int64_t bytes, std::int64_t budget) {
                 const py::gil_scoped_release release;
                 gs::MemoryLease lease;
                 lease.take(bytes, budget);
                 return lease;
             }),
             py::arg("bytes"), py::arg("budget"))
        .def("release", &gs::MemoryLease::release);
    m.def("leased_bytes", &gs::leased_bytes);
    m.def("share_leases", &gs::share_leases, py::arg("file"), py::arg("start"));
    m.def("sniff",
          [](const py::object& data) { return gs::format_name(gs::sniff(HeldBytes(data.ptr()).view())); });
}

}  // namespace gs_binding
