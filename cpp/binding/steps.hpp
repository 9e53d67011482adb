// Steps as Python holds them; and those that only Python can make: its functions, and errors found in planning.
#pragma once

#include <pybind11/numpy.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "binding/common.hpp"
#include "transform/run.hpp"

namespace gs_binding {

using MadeStep = std::shared_ptr<gs::transform::Step>;

inline gs::transform::Steps steps_of(const std::vector<MadeStep>& made) {
    for (const MadeStep& step : made)
        if (!step) throw py::value_error("a step is None");
    return {made.begin(), made.end()};
}

inline gs::transform::Size size_of(int width, int height) {
    if (width < 1 || height < 1) throw py::value_error("an image without pixels");
    return {width, height};
}

// A Python function among the steps. It is given the whole image and gives one of the size `to`, by default of
// the same; whatever it raises is the image's error. Steps may go on any thread, so the function goes with the GIL held.
class HookStep final : public gs::transform::WholeStep {
  public:
    HookStep(py::object call, std::string name, std::optional<gs::transform::Size> to)
        : call_(std::move(call)), name_(std::move(name)), to_(to) {}
    ~HookStep() override {
        if (!Py_IsInitialized()) {
            call_.release();
            return;
        }
        py::gil_scoped_acquire gil;
        call_ = py::object();
    }

    gs::transform::Size size(gs::transform::Size in) const override { return to_.value_or(in); }

    void run(const gs::transform::Part& in, const gs::Rect& window, const gs::transform::Canvas& out,
             gs::transform::Scratch&) const override {
        const int width = in.whole.width, height = in.whole.height;
        const auto row_bytes = std::size_t{3} * static_cast<std::size_t>(width);
        py::gil_scoped_acquire gil;
        try {
            py::array_t<std::uint8_t> image({height, width, 3});
            std::uint8_t* pixels = image.mutable_data();
            for (int y = 0; y < height; y++)
                std::memcpy(pixels + static_cast<std::size_t>(y) * row_bytes, in.at(0, y), row_bytes);
            const py::object found = call_(std::move(image));
            if (!py::isinstance<py::array_t<std::uint8_t>>(found))
                throw gs::DecodeError(name_ + ": it returned no uint8 array");
            const auto result =
                found.cast<py::array_t<std::uint8_t, py::array::c_style | py::array::forcecast>>();
            const gs::transform::Size to = size(in.whole);
            if (result.ndim() != 3 || result.shape(0) != to.height || result.shape(1) != to.width ||
                result.shape(2) != 3)
                throw gs::DecodeError(name_ + ": it returned an array of another shape");
            for (int y = 0; y < window.height; y++)
                std::memcpy(out.row(y),
                            result.data() + std::size_t{3} * (static_cast<std::size_t>(window.y + y) *
                                                                  static_cast<std::size_t>(to.width) +
                                                              static_cast<std::size_t>(window.x)),
                            std::size_t{3} * static_cast<std::size_t>(window.width));
        } catch (py::error_already_set& error) {
            const auto kind = py::str(error.type().attr("__name__")).cast<std::string>();
            throw gs::DecodeError(name_ + ": " + kind + ": " + message_of(error));
        }
    }

  private:
    py::object call_;
    const std::string name_;
    const std::optional<gs::transform::Size> to_;
};

// Stands for an image whose steps cannot be planned: the message becomes its error.
class FailingStep final : public gs::transform::WholeStep {
  public:
    explicit FailingStep(std::string message) : message_(std::move(message)) {}
    gs::transform::Size size(gs::transform::Size) const override { throw std::invalid_argument(message_); }
    void run(const gs::transform::Part&, const gs::Rect&, const gs::transform::Canvas&,
             gs::transform::Scratch&) const override {}

  private:
    const std::string message_;
};

}  // namespace gs_binding
