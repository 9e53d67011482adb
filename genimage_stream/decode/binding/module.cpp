// The Python extension `_core`: converts arguments, releases the GIL, turns DecodeError into the Python
// exception.
#include "common.hpp"
#include "core/cpu.hpp"

PYBIND11_MODULE(_core, m) {
    pybind11::register_exception<gs::DecodeError>(m, "DecodeError", PyExc_ValueError);
    gs_binding::add_image(m);
    gs_binding::add_batch(m);
    bind_crop_ready(m);
    m.def("simd_level", [] { return static_cast<int>(gs::simd_level()); });
    m.def("set_simd_level", [](int level) { gs::set_simd_level(static_cast<gs::Simd>(level)); });
}
