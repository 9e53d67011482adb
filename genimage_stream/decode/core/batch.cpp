#include "batch.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>
#include <numeric>

#include "decode.hpp"

namespace gs {
namespace {

// Keeps the rows of a part of an image.
class CollectSink : public RowSink {
  public:
    CollectSink(std::uint8_t* to, int width)
        : to_(to), row_bytes_(std::size_t{3} * static_cast<std::size_t>(width)) {}
    void rows(int first, int count, const std::uint8_t* rgb, std::ptrdiff_t stride) noexcept override {
        for (int i = 0; i < count; i++)
            std::memcpy(to_ + row_bytes_ * static_cast<std::size_t>(first + i), rgb + i * stride, row_bytes_);
    }

  private:
    std::uint8_t* to_;
    std::size_t row_bytes_;
};

std::string text(Size size) {
    return std::to_string(size.width) + "x" + std::to_string(size.height);
}

// The stretch of an image `size` long that a window of `length` at `at` needs: the window itself, or all of
// an image that is smaller.
struct Stretch {
    int at;
    int length;
};

Stretch needed(int at, int length, int size) {
    if (at < 0) throw DecodeError("the window begins left of or above the image");
    if (size < length) return {0, size};
    if (at > size - length) return {-1, 0};
    return {at, length};
}

}  // namespace

ByteView FileSource::bytes(int item, const Limits& limits, Buffer& scratch) {
    const Range& range = ranges_[static_cast<std::size_t>(item)];
    if (range.size > limits.max_bytes)
        throw DecodeError("the file has " + std::to_string(range.size) + " bytes, more than the limit of " +
                          std::to_string(limits.max_bytes));
    if (range.size < 0) throw ReadError("negative size " + std::to_string(range.size));
    const auto size = static_cast<std::size_t>(range.size);
    std::uint8_t* to = scratch.reserve(size + 64);
    files_->read(range.file, range.offset, size, to);
    return {to, size};
}

Batch::Batch(BatchPlan plan, std::unique_ptr<Source> source, std::shared_ptr<ForeignDecoder> foreign)
    : Work(static_cast<int>(plan.crops.size())),
      plan_(std::move(plan)),
      source_(std::move(source)),
      foreign_(std::move(foreign)),
      order_(plan_.crops.size()) {
    failures_.reserve(plan_.crops.size());  // so that reporting a lack of memory needs none
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(),
                     [this](int a, int b) { return source_->size_bytes(a) > source_->size_bytes(b); });
}

void Batch::run(int item, Workspace& workspace) noexcept {
    using Clock = std::chrono::steady_clock;
    const int index = order_[static_cast<std::size_t>(item)];
    const auto begin = Clock::now();
    auto read = begin;
    try {
        const ByteView bytes = source_->bytes(index, plan_.options.limits, workspace.encoded);
        if (source_->reads()) {
            read = Clock::now();
            bytes_read_ += static_cast<std::int64_t>(bytes.size);
        }
        render(index, bytes, workspace);
    } catch (const ReadError& error) {
        read = Clock::now();
        fail(index, Failure::io, error.what());
    } catch (const std::bad_alloc&) {
        fail(index, Failure::decode, "not enough memory to decode this image");
    } catch (const std::exception& error) {
        fail(index, Failure::decode, error.what());
    }
    const auto nanoseconds = [](auto span) {
        return std::chrono::duration_cast<std::chrono::nanoseconds>(span).count();
    };
    read_nanoseconds_ += nanoseconds(read - begin);
    decode_nanoseconds_ += nanoseconds(Clock::now() - read);
}

void Batch::render(int index, ByteView bytes, Workspace& workspace) {
    const auto i = static_cast<std::size_t>(index);
    const Size window = plan_.window;
    const Point at = plan_.crops[i];
    const bool flip = !plan_.flips.empty() && plan_.flips[i] != 0;
    const std::size_t image_bytes = 3 * element_bytes(plan_.element) *
                                    static_cast<std::size_t>(window.width) *
                                    static_cast<std::size_t>(window.height);
    PlanarSink sink(plan_.out + image_bytes * i, plan_.element, window.width, window.height, flip,
                    plan_.normalizer);

    const ImageInfo info = inspect(bytes, plan_.options.limits);
    const Size image{info.width, info.height};
    const Stretch across = needed(at.x, window.width, image.width);
    const Stretch down = needed(at.y, window.height, image.height);
    if (across.at < 0 || down.at < 0)
        throw DecodeError("the window of " + text(window) + " at (" + std::to_string(at.x) + ", " +
                          std::to_string(at.y) + ") leaves the image of " + text(image));
    const Rect part{across.at, down.at, across.length, down.length};
    if (across.length == window.width && down.length == window.height) {
        decode(bytes, &part, plan_.options, workspace, sink);
        return;
    }
    const std::size_t row_bytes = std::size_t{3} * static_cast<std::size_t>(part.width);
    const std::size_t line_bytes = std::size_t{3} * static_cast<std::size_t>(window.width);
    std::uint8_t* pixels =
        workspace.pixels.reserve(row_bytes * static_cast<std::size_t>(part.height) + line_bytes + 64);
    std::uint8_t* line = pixels + row_bytes * static_cast<std::size_t>(part.height);
    CollectSink collect(pixels, part.width);
    decode(bytes, &part, plan_.options, workspace, collect);
    for (int y = 0; y < window.height; y++) {
        const bool tall = down.length == window.height;
        const int row = tall ? y : source_of(at.y + y, part.height, plan_.small);
        const std::uint8_t* from = pixels + row_bytes * static_cast<std::size_t>(std::max(row, 0));
        if (row < 0) {
            for (int x = 0; x < window.width; x++) std::memcpy(line + 3 * x, plan_.fill, 3);
            from = line;
        } else if (part.width != window.width) {
            extend_row(from, part.width, at.x, window.width, plan_.small, plan_.fill, line);
            from = line;
        }
        sink.rows(y, 1, from, 0);
    }
}

void Batch::fail(int index, Failure kind, const char* message) noexcept {
    const std::size_t image_bytes = 3 * element_bytes(plan_.element) *
                                    static_cast<std::size_t>(plan_.window.width) *
                                    static_cast<std::size_t>(plan_.window.height);
    std::memset(plan_.out + image_bytes * static_cast<std::size_t>(index), 0, image_bytes);
    const std::lock_guard<std::mutex> lock(failures_mutex_);
    try {
        failures_.push_back({index, kind, message});
    } catch (const std::bad_alloc&) {  // the report must not be lost: an empty message fits everywhere
        failures_.push_back({index, kind, {}});
    }
}

std::vector<ImageFailure> Batch::failures(bool done) const {
    std::vector<ImageFailure> all;
    {
        const std::lock_guard<std::mutex> lock(failures_mutex_);
        all = failures_;
    }
    for (int item = begun(); done && item < items(); item++)
        all.push_back({order_[static_cast<std::size_t>(item)], Failure::cancelled, "the job was cancelled"});
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.index < b.index; });
    return all;
}

}  // namespace gs
