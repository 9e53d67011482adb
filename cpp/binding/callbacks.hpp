// What the threads of the pool call in Python: decoders of other formats, and fetchers of whole images.
#pragma once

#include <pybind11/numpy.h>

#include <cstring>
#include <map>

#include "batch/batch.hpp"
#include "binding/common.hpp"

namespace gs_binding {

// Pillow's decoders, called from the pool's threads.
class PythonDecoder : public gs::ForeignDecoder {
  public:
    explicit PythonDecoder(py::object call) : call_(std::move(call)) {}
    ~PythonDecoder() override {
        if (!Py_IsInitialized()) {
            call_.release();
            return;
        }
        py::gil_scoped_acquire gil;
        call_ = py::object();
    }
    // `call(data: memoryview, max_pixels, max_bytes, memory) -> ((h, w, 3) uint8 array, MemoryLease)`; whatever
    // it raises is the image's error.
    gs::Size decode(gs::ByteView bytes, const gs::DecodeOptions& options, gs::Buffer& pixels,
                    gs::MemoryLease& memory) override {
        py::gil_scoped_acquire gil;
        try {
            const auto view = py::memoryview::from_memory(bytes.data, static_cast<py::ssize_t>(bytes.size));
            const gs::Limits& limits = options.limits;
            const auto both = py::tuple(call_(view, limits.max_pixels, limits.max_bytes, limits.memory));
            const auto array = py::array_t<std::uint8_t, py::array::c_style>(both[0]);
            memory = std::move(both[1].cast<gs::MemoryLease&>());
            if (array.ndim() != 3 || array.shape(2) != 3) throw gs::DecodeError("not an RGB image");
            const gs::Size size{static_cast<int>(array.shape(1)), static_cast<int>(array.shape(0))};
            const auto count = static_cast<std::size_t>(array.nbytes());
            std::memcpy(pixels.reserve(count + 64), array.data(), count);
            return size;
        } catch (py::error_already_set& error) {
            throw gs::DecodeError(message_of(error));
        }
    }

  private:
    py::object call_;
};

// Fetches whole images of which parts were given, by the callables that came with them. These are held by the
// job's `Borrowed`, so that the threads own no Python object.
class PythonWholeImages : public gs::WholeImages {
  public:
    void add(int item, py::handle call) { calls_[item] = call; }
    void get(int item, std::uint8_t* to, std::size_t size) override {
        py::gil_scoped_acquire gil;
        try {
            const py::object data = py::reinterpret_borrow<py::object>(calls_.at(item))();
            const HeldBytes held(data.ptr());
            if (held.view().size != size)
                throw gs::ReadError("it has " + std::to_string(held.view().size) + " bytes, not " +
                                    std::to_string(size));
            std::memcpy(to, held.view().data, size);
        } catch (py::error_already_set& error) {
            throw gs::ReadError(message_of(error));
        }
    }

  private:
    std::map<int, py::handle> calls_;
};

}  // namespace gs_binding
