// Steps of transforms, and running them on one image on the calling thread.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstring>
#include <optional>
#include <stdexcept>
#include <tuple>

#include "binding/common.hpp"
#include "binding/steps.hpp"
#include "lossy/jpeg.hpp"
#include "lossy/webp.hpp"
#include "transform/blur.hpp"
#include "transform/colour.hpp"
#include "transform/erase.hpp"
#include "transform/geometry.hpp"
#include "transform/noise.hpp"
#include "transform/patches.hpp"
#include "transform/philox.hpp"
#include "transform/resize.hpp"
#include "transform/run.hpp"

namespace gs_binding {
namespace {

using namespace gs::transform;
using Image = py::array_t<std::uint8_t, py::array::c_style>;
using RectTuple = std::tuple<int, int, int, int>;
using Sizes = py::array_t<std::int32_t, py::array::c_style>;
using Made = MadeStep;

// pybind11 holds no pointers to const; Step has no other members than const ones.
Made made(std::shared_ptr<const Step> step) {
    return std::const_pointer_cast<Step>(std::move(step));
}

gs::Rect rect_of(const RectTuple& r, Size in) {
    const gs::Rect rect{std::get<0>(r), std::get<1>(r), std::get<2>(r), std::get<3>(r)};
    if (rect.x < 0 || rect.y < 0 || rect.width < 1 || rect.height < 1 || rect.x > in.width - rect.width ||
        rect.y > in.height - rect.height)
        throw std::out_of_range("the window is not inside the image of " + std::to_string(in.width) + "x" +
                                std::to_string(in.height));
    return rect;
}

std::vector<gs::Rect> rects_of(const std::vector<RectTuple>& tuples) {
    std::vector<gs::Rect> found;
    for (const auto& [x, y, width, height] : tuples) found.push_back({x, y, width, height});
    return found;
}

Plan plan_of(const Steps& steps, Size in, const std::optional<RectTuple>& window) {
    if (!window) return plan_steps(steps, in, nullptr);
    const gs::Rect rect = rect_of(*window, sizes_of(steps, in).back());
    return plan_steps(steps, in, &rect);
}

std::size_t row_bytes(int width) {
    return std::size_t{3} * static_cast<std::size_t>(width);
}

Image run(const Image& image, const std::vector<Made>& made, const std::optional<RectTuple>& window) {
    if (image.ndim() != 3 || image.shape(2) != 3 || image.shape(0) > (1 << 20) || image.shape(1) > (1 << 20))
        throw py::value_error("an image is an array (height, width, 3) of uint8");
    const Steps steps = steps_of(made);
    const Size in = size_of(static_cast<int>(image.shape(1)), static_cast<int>(image.shape(0)));
    const Plan plan = plan_of(steps, in, window);
    const gs::Rect& from = plan.needed.front();
    const gs::Rect& to = plan.needed.back();
    Image result({to.height, to.width, 3});
    const std::uint8_t* pixels = image.data();
    std::uint8_t* out = result.mutable_data();
    {
        py::gil_scoped_release release;
        thread_local Runner runner;
        thread_local gs::Buffer source;
        const auto in_stride = static_cast<std::ptrdiff_t>(row_bytes(in.width));
        Part given{in, from, pixels + from.y * in_stride + row_bytes(from.x), in_stride};
        if (!keep_to_rows(steps)) {  // rows that may be read beyond their end
            const Canvas canvas = Canvas::in(source, from.width, from.height);
            for (int y = 0; y < from.height; y++)
                std::memcpy(canvas.row(y), given.rgb + y * in_stride, row_bytes(from.width));
            given = {in, from, canvas.rgb, canvas.stride};
        }
        const Canvas direct{out, static_cast<std::ptrdiff_t>(row_bytes(to.width))};
        const Part part = run_steps(steps, plan, given, runner, &direct);
        for (int y = 0; y < to.height && part.rgb != out; y++)
            std::memcpy(direct.row(y), part.rgb + y * part.stride, row_bytes(to.width));
    }
    return result;
}

// What steps that act on normalised values set: the pixels' numbers, counted through all images of height x width, and
// their three values. A list per image.
py::tuple finished_pixels(const std::vector<std::vector<Made>>& lists, bool half, int width, int height) {
    const std::size_t pixels = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
    if (width < 1 || height < 1 || pixels * lists.size() > (std::size_t{1} << 31) - 1)
        throw py::value_error("too many pixels");
    const gs::Element element = half ? gs::Element::f16 : gs::Element::f32;
    const std::size_t bytes = gs::element_bytes(element);
    std::vector<std::int32_t> places;
    std::vector<std::uint8_t> values;
    {
        py::gil_scoped_release release;
        std::vector<std::uint8_t> planes;
        const std::array<std::uint8_t, 4> untouched{0xFF, 0xFF, 0xFF, 0xFF};  // a NaN, which no step makes
        for (std::size_t i = 0; i < lists.size(); i++) {
            if (lists[i].empty()) continue;
            planes.assign(3 * pixels * bytes, 0xFF);
            for (const Made& step : lists[i])
                if (const auto* finishing = dynamic_cast<const FinishingStep*>(step.get()))
                    finishing->finish(planes.data(), element, width, height);
            for (std::size_t at = 0; at < pixels; at++) {
                if (std::memcmp(planes.data() + at * bytes, untouched.data(), bytes) == 0) continue;
                places.push_back(static_cast<std::int32_t>(i * pixels + at));
                for (std::size_t c = 0; c < 3; c++) {
                    const std::uint8_t* value = planes.data() + (c * pixels + at) * bytes;
                    values.insert(values.end(), value, value + bytes);
                }
            }
        }
    }
    const auto count = static_cast<py::ssize_t>(places.size());
    py::array_t<std::int32_t> found(count);
    std::copy(places.begin(), places.end(), found.mutable_data());
    py::array made(half ? py::dtype("float16") : py::dtype("float32"), {count, py::ssize_t{3}});
    std::copy(values.begin(), values.end(), static_cast<std::uint8_t*>(made.mutable_data()));
    return py::make_tuple(found, made);
}

}  // namespace

void add_transform(py::module_& m) {
    py::class_<Step, Made>(m, "Step");
    py::class_<FinishingStep, Step, std::shared_ptr<FinishingStep>>(m, "FinishingStep");
    m.def("finished_pixels", &finished_pixels, py::arg("lists"), py::arg("half"), py::arg("width"),
          py::arg("height"));
    m.def("run_steps", &run, py::arg("image"), py::arg("steps"), py::arg("window"));
    m.def("step_sizes", [](const std::vector<Made>& steps, int width, int height) {
        std::vector<std::tuple<int, int>> sizes;
        for (const Size size : sizes_of(steps_of(steps), size_of(width, height)))
            sizes.emplace_back(size.width, size.height);
        return sizes;
    });
    // Of each image the rectangle that its steps need, (n, 4) (x, y, width, height).
    m.def("steps_need", [](const std::vector<std::vector<Made>>& lists, const Sizes& sizes) {
        if (sizes.ndim() != 2 || sizes.shape(1) != 2 ||
            static_cast<std::size_t>(sizes.shape(0)) != lists.size())
            throw py::value_error("sizes are (n, 2)");
        py::array_t<std::int32_t> found({static_cast<py::ssize_t>(lists.size()), py::ssize_t{4}});
        for (std::size_t i = 0; i < lists.size(); i++) {
            const auto row = static_cast<py::ssize_t>(i);
            const Size size = size_of(sizes.at(row, 0), sizes.at(row, 1));
            gs::Rect needed = all_of(size);
            try {
                needed = plan_steps(steps_of(lists[i]), size, nullptr).needed.front();
            } catch (const std::invalid_argument&) {  // the image's error, once it is its turn
            }
            for (py::ssize_t j = 0; j < 4; j++)
                found.mutable_at(row, j) =
                    std::array{needed.x, needed.y, needed.width, needed.height}[static_cast<std::size_t>(j)];
        }
        return found;
    });
    m.def("hook_step", [](py::object call, std::string name, std::optional<std::tuple<int, int>> size) {
        std::optional<Size> to;
        if (size) to = size_of(std::get<0>(*size), std::get<1>(*size));
        return made(std::make_shared<HookStep>(std::move(call), std::move(name), to));
    });
    m.def("failing_step",
          [](std::string message) { return made(std::make_shared<FailingStep>(std::move(message))); });
    m.def("philox", [](const std::array<std::uint32_t, 2>& key, const std::array<std::uint32_t, 4>& counter) {
        return philox4x32(counter, {key[0], key[1]});
    });
    m.def("crop_step", [](const RectTuple& r, int padding) {
        return made(crop_step({std::get<0>(r), std::get<1>(r), std::get<2>(r), std::get<3>(r)},
                              static_cast<Padding>(padding)));
    });
    m.def("flip_step", [](bool across, bool down) { return made(flip_step(across, down)); });
    m.def("quarter_turns_step", [](int turns) { return made(quarter_turns_step(turns)); });
    m.def("affine_step", [](const std::array<double, 6>& matrix) { return made(affine_step(matrix)); });
    m.def("resize_step", [](int width, int height, std::optional<int> filter) {
        std::optional<gs::Filter> found;
        if (filter) found = static_cast<gs::Filter>(*filter);
        return made(resize_step(size_of(width, height), found));
    });
    m.def("resize_linear_step",
          [](int width, int height) { return made(resize_linear_step(size_of(width, height))); });
    m.def("jpeg_step", [](int quality, int chroma, bool swapped) {
        return made(jpeg_step(quality, static_cast<Chroma>(chroma), swapped));
    });
    m.def("webp_step", [](int quality) {
        if (quality < 0 || quality > 100) throw py::value_error("a quality of 0 to 100");
        return made(webp_step(quality));
    });
    m.def("scipy_blur_step", [](std::vector<double> weights) {
        if (weights.empty() || weights.size() > 4096) throw py::value_error("a kernel of 1 to 4096 weights");
        return made(scipy_blur_step(std::move(weights)));
    });
    m.def("cv2_blur_step", [](std::vector<int> across, std::vector<int> down) {
        for (const auto* kernel : {&across, &down}) {
            int sum = 0;
            for (const int weight : *kernel) sum += weight < 0 ? 1 << 20 : weight;
            if (kernel->size() % 2 == 0 || sum != 256)
                throw py::value_error("an odd kernel that sums to 256");
        }
        return made(cv2_blur_step(std::move(across), std::move(down)));
    });
    m.def("torch_blur_step", [](std::vector<float> kernel, int width, int height) {
        if (width < 1 || height < 1 || width % 2 == 0 || height % 2 == 0 || width > 4095 || height > 4095 ||
            kernel.size() != static_cast<std::size_t>(width) * static_cast<std::size_t>(height))
            throw py::value_error("a kernel of odd width and height");
        return made(torch_blur_step(std::move(kernel), width, height));
    });
    m.def("gray_step", [](bool opencv) { return made(gray_step(opencv ? Gray::opencv : Gray::pillow)); });
    m.def("linear_step", [](float factor, float offset) { return made(linear_step(factor, offset)); });
    m.def("brightness_step", [](double factor) { return made(brightness_step(factor)); });
    m.def("contrast_step", [](double factor) { return made(contrast_step(factor)); });
    m.def("saturation_step", [](double factor) { return made(saturation_step(factor)); });
    m.def("hue_step", [](std::uint8_t shift) { return made(hue_step(shift)); });
    m.def("noise_step", [](const std::array<std::uint32_t, 2>& key, float offset, float scale) {
        return made(noise_step({key[0], key[1]}, offset, scale));
    });
    m.def("fill_step", [](const std::vector<RectTuple>& rects, const std::array<std::uint8_t, 3>& colour) {
        return made(fill_step(rects_of(rects), colour));
    });
    m.def("erase_step",
          [](const std::vector<RectTuple>& rects, const std::optional<std::array<std::uint32_t, 2>>& noise) {
              std::optional<PhiloxKey> key;
              if (noise) key = PhiloxKey{(*noise)[0], (*noise)[1]};
              return std::const_pointer_cast<FinishingStep>(erase_step(rects_of(rects), key));
          });
    m.def(
        "finish_floats",
        [](const Made& step, py::array_t<float, py::array::c_style>& image) {
            const auto* finishing = dynamic_cast<const FinishingStep*>(step.get());
            if (finishing == nullptr) throw py::value_error("this step does not act on normalised values");
            if (image.ndim() != 3 || image.shape(0) != 3)
                throw py::value_error("an image is float32 (3, h, w)");
            finishing->finish(reinterpret_cast<std::uint8_t*>(image.mutable_data()), gs::Element::f32,
                              static_cast<int>(image.shape(2)), static_cast<int>(image.shape(1)));
        },
        py::arg("step"), py::arg("image").noconvert());
    m.def("texture_step", [](const std::vector<std::tuple<int, int>>& corners, int side,
                             std::vector<int> chosen, int columns) {
        for (const int patch : chosen)
            if (patch < 0 || static_cast<std::size_t>(patch) >= corners.size())
                throw std::out_of_range("there is no patch " + std::to_string(patch));
        if (side < 1 || columns < 1 || chosen.empty() ||
            chosen.size() % static_cast<std::size_t>(columns) != 0)
            throw py::value_error("patches are laid out in full rows");
        std::vector<Corner> found;
        for (const auto& [x, y] : corners) found.push_back({x, y});
        return made(texture_step(std::move(found), side, std::move(chosen), columns));
    });
}

}  // namespace gs_binding
