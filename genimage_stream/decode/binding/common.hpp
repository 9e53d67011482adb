// Shared by the binding's files.
#pragma once

#include <pybind11/pybind11.h>

#include "core/types.hpp"

namespace gs_binding {

namespace py = pybind11;

void add_image(py::module_& m);       // decode, inspect, check: one image on the calling thread
void add_batch(py::module_& m);       // FileSet, Pool, Job
void add_crop_ready(py::module_& m);  // recode for crops, cut a JPEG
void add_pack(py::module_& m);        // many images into the bytes of a tar

// A bytes-like object's memory; the object cannot be resized while this lives. Needs the GIL at both ends.
class HeldBytes {
  public:
    explicit HeldBytes(PyObject* object, int flags = PyBUF_SIMPLE) {
        if (PyObject_GetBuffer(object, &buffer_, flags) != 0) throw py::error_already_set();
    }
    ~HeldBytes() { PyBuffer_Release(&buffer_); }
    HeldBytes(HeldBytes&& other) noexcept : buffer_(other.buffer_) { other.buffer_.obj = nullptr; }
    HeldBytes(const HeldBytes&) = delete;
    HeldBytes& operator=(const HeldBytes&) = delete;

    gs::ByteView view() const {
        return {static_cast<const std::uint8_t*>(buffer_.buf), static_cast<std::size_t>(buffer_.len)};
    }
    // Of memory that was asked for with PyBUF_WRITABLE.
    std::uint8_t* writable() const { return static_cast<std::uint8_t*>(buffer_.buf); }

  private:
    Py_buffer buffer_{};
};

}  // namespace gs_binding
