// The Python extension `_core`: converts arguments, releases the GIL, turns DecodeError into
// the Python exception.
#include <libdeflate.h>

#include <cstdio>
// jpeglib.h wants stdio.h before it
#include <jpeglib.h>

#include "base/cpu.hpp"
#include "binding/common.hpp"
#include "jpeg/jpeg.hpp"
#include "webp/webp.hpp"

namespace {

#define GS_TEXT(value) #value
#define GS_TEXT_OF(macro) GS_TEXT(macro)

// The codecs: those that it was compiled with; libwebp's says itself which one is loaded.
pybind11::dict library_versions() {
    pybind11::dict found;
    found["libjpeg-turbo"] = GS_TEXT_OF(LIBJPEG_TURBO_VERSION);
    found["libdeflate"] = LIBDEFLATE_VERSION_STRING;
    found["libwebp"] = gs::webp_version();
    return found;
}

}  // namespace

// Safe without the GIL: `binding/batch.cpp` says what guards what threads share; all else belongs to one call or thread.
PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
    pybind11::register_exception<gs::DecodeError>(m, "DecodeError", PyExc_ValueError);
    gs_binding::add_image(m);
    gs_binding::add_batch(m);
    gs_binding::add_crop_ready(m);
    gs_binding::add_transform(m);
    m.def("simd_level", [] { return static_cast<int>(gs::simd_level()); });
    m.def("set_simd_level", [](int level) { gs::set_simd_level(static_cast<gs::Simd>(level)); });
    m.def("library_versions", &library_versions);
    m.def("crc32", [](const pybind11::object& data) {
        const gs_binding::HeldBytes held(data.ptr());
        const gs::ByteView view = held.view();
        pybind11::gil_scoped_release unlocked;
        return libdeflate_crc32(0, view.data, view.size);
    });
    m.def("set_jpeg_path", [](const std::string& name) {
        if (!gs::set_jpeg_path(name)) throw pybind11::value_error("no such JPEG path: " + name);
    });
}
