// Registers the crop-ready functions on the extension module.
#pragma once

#include <pybind11/pybind11.h>

void bind_crop_ready(pybind11::module_& m);
