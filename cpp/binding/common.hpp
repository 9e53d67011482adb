// Shared by the binding's files.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/types.hpp"
#include "image/inspect.hpp"

namespace gs_binding {

namespace py = pybind11;

void add_image(py::module_& m);       // decode, inspect, check: one image on the calling thread
void add_batch(py::module_& m);       // FileSet, Pool, Job
void add_crop_ready(py::module_& m);  // recode for crops, cut a JPEG
void add_transform(py::module_& m);   // steps of transforms, and running them on an image

// Facts of an image as decode/image.py takes them.
py::tuple facts(const gs::ImageInfo& info);

// Of a crop-ready PNG, rows of a band, where the first one begins and where each ends; None for other files.
using Segments = std::optional<std::vector<std::int64_t>>;
Segments png_segments(gs::ByteView bytes, const gs::ImageInfo& info);

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

// As the operating system wants it, also where it is not UTF-8.
inline std::string file_path(py::handle path) {
    const auto encoded = py::reinterpret_steal<py::bytes>(PyUnicode_EncodeFSDefault(path.ptr()));
    if (!encoded) throw py::error_already_set();
    return encoded;
}

inline py::str file_name(const std::string& path) {
    auto decoded = py::reinterpret_steal<py::str>(
        PyUnicode_DecodeFSDefaultAndSize(path.data(), static_cast<py::ssize_t>(path.size())));
    if (!decoded) throw py::error_already_set();
    return decoded;
}

// Messages name files, whose names need not be UTF-8; a message that cannot be shown would hide the error.
inline py::str shown(const std::string& text) {
    auto decoded = py::reinterpret_steal<py::str>(
        PyUnicode_DecodeUTF8(text.data(), static_cast<py::ssize_t>(text.size()), "backslashreplace"));
    if (!decoded) throw py::error_already_set();
    return decoded;
}

// What a Python exception says, also where that holds parts of such a name.
inline std::string message_of(const py::error_already_set& error) {
    const auto encoded = py::reinterpret_steal<py::bytes>(
        PyUnicode_AsEncodedString(py::str(error.value()).ptr(), "utf-8", "backslashreplace"));
    if (!encoded) throw py::error_already_set();
    return encoded;
}

}  // namespace gs_binding
