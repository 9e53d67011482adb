// The Python extension `_core`: converts arguments, releases the GIL, turns DecodeError into
// the Python exception.
#include "base/cpu.hpp"
#include "binding/common.hpp"
#include "jpeg/jpeg.hpp"

PYBIND11_MODULE(_core, m) {
    pybind11::register_exception<gs::DecodeError>(m, "DecodeError", PyExc_ValueError);
    gs_binding::add_image(m);
    gs_binding::add_batch(m);
    gs_binding::add_crop_ready(m);
    gs_binding::add_transform(m);
    m.def("simd_level", [] { return static_cast<int>(gs::simd_level()); });
    m.def("set_simd_level", [](int level) { gs::set_simd_level(static_cast<gs::Simd>(level)); });
    m.def("set_jpeg_path", [](const std::string& name) {
        if (!gs::set_jpeg_path(name)) throw pybind11::value_error("no such JPEG path: " + name);
    });
}
