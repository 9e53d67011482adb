#include "batch.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>
#include <numeric>

namespace gs {
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
      order_(plan_.crops.size()),
      diverted_(plan_.divert.size()) {
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
        const auto i = static_cast<std::size_t>(index);
        Diverted* diverted = !plan_.divert.empty() && plan_.divert[i] != 0 ? &diverted_[i] : nullptr;
        render(plan_, index, bytes, foreign_.get(), workspace, diverted);
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

void Batch::fail(int index, Failure kind, const char* message) noexcept {
    const std::size_t image_bytes = plan_.image_bytes();
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
