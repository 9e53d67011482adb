#include "batch/batch.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <new>
#include <numeric>

#include "batch/tar_header.hpp"

namespace gs {
namespace {

using Clock = std::chrono::steady_clock;

std::int64_t nanoseconds_since(Clock::time_point begin) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count();
}

// PNGs from this size on are read as far as they are needed: smaller ones are read whole faster.
constexpr std::size_t kLazyFrom = 192 << 10;
// Of a partial image: the header and the start of a chunk.
constexpr std::size_t kSmallestHead = 64;

void check_size(std::int64_t size, const Limits& limits) {
    if (size > limits.max_bytes)
        throw DecodeError("the file has " + std::to_string(size) + " bytes, more than the limit of " +
                          std::to_string(limits.max_bytes));
}

}  // namespace

void FileBytes::need(std::size_t begin, std::size_t end) {
    if (begin <= front_) begin = front_;
    if (begin >= end) return;
    struct Timer {
        std::int64_t& sum;
        Clock::time_point began = Clock::now();
        ~Timer() { sum += nanoseconds_since(began); }
    } timer{nanoseconds_};
    const std::size_t lead = begin == 0 ? lead_ : 0;
    const std::size_t size = end - begin + lead;
    files_->read(file_, offset_ + static_cast<std::int64_t>(begin) - static_cast<std::int64_t>(lead), size,
                 to_ + begin - lead, offset_ + static_cast<std::int64_t>(size_));
    bytes_read_ += static_cast<std::int64_t>(size);
    if (begin == front_) front_ = end;
}

void PartialBytes::need(std::size_t begin, std::size_t end) {
    const auto within = [=](std::size_t from, std::size_t size) {
        return begin >= from && end <= from + size;
    };
    if (complete_ || begin >= end || within(0, image_->head.size) || within(image_->at, image_->body.size))
        return;
    const auto began = Clock::now();
    whole_->get(item_, to_, image_->size);
    complete_ = true;
    nanoseconds_ += nanoseconds_since(began);
}

ByteView MemorySource::bytes(int item, const Limits& limits, Buffer& scratch, Fetched& fetched) {
    const ByteView& view = views_[static_cast<std::size_t>(item)];
    const auto found = partials_.find(item);
    if (found == partials_.end()) return view;
    const PartialImage& image = found->second;
    check_size(static_cast<std::int64_t>(image.size), limits);
    PartialBytes& partial = fetched.partial;
    partial.image_ = &image;
    partial.whole_ = whole_.get();
    partial.item_ = item;
    partial.to_ = scratch.reserve(image.size + 64);
    partial.head_ = image.head.size;
    std::memcpy(partial.to_, image.head.data, image.head.size);
    if (image.body.size > 0) std::memcpy(partial.to_ + image.at, image.body.data, image.body.size);
    // Only PNGs are decoded from parts.
    if (image.head.size < kSmallestHead || sniff(image.head) != Format::png) partial.need(0, image.size);
    if (!partial.complete_) fetched.rest = &partial;
    return {partial.to_, image.size};
}

ByteView FileSource::bytes(int item, const Limits& limits, Buffer& scratch, Fetched& fetched) {
    FileBytes& file = fetched.file;
    const Range& range = ranges_[static_cast<std::size_t>(item)];
    check_size(range.size, limits);
    if (range.size < 0) throw ReadError("negative size " + std::to_string(range.size));
    if (range.offset > std::numeric_limits<std::int64_t>::max() - range.size)
        throw ReadError("file number " + std::to_string(range.file) + ": " + std::to_string(range.size) +
                        " bytes from byte " + std::to_string(range.offset) +
                        " on: no file is so long; the index is damaged");
    const auto size = static_cast<std::size_t>(range.size);
    file.files_ = files_.get();
    file.file_ = range.file;
    file.offset_ = range.offset;
    file.size_ = size;
    file.lead_ = names_.empty() || size == 0 ? 0 : kTarHeader;
    if (range.offset < static_cast<std::int64_t>(file.lead_))
        throw ReadError("byte " + std::to_string(range.offset) + " has no room for a tar header before it");
    file.to_ = scratch.reserve(file.lead_ + size + 64) + file.lead_;
    const ByteView all{file.to_, size};
    const bool lazy = size >= kLazyFrom;
    file.need(0, lazy ? LazyBytes::kLazyHead : size);
    if (file.lead_ > 0)
        check_tar_header(file.to_ - file.lead_, names_[static_cast<std::size_t>(item)], range.size,
                         files_->path(range.file));
    if (lazy) {
        if (sniff({all.data, LazyBytes::kLazyHead}) == Format::png) {
            fetched.rest = &file;
            return all;
        }
        file.need(0, size);
    }
    return all;
}

Batch::Batch(BatchPlan plan, std::unique_ptr<Source> source, std::shared_ptr<ForeignDecoder> foreign,
             std::vector<Transformed> transformed)
    : Work(static_cast<int>(plan.crops.size())),
      plan_(std::move(plan)),
      source_(std::move(source)),
      foreign_(std::move(foreign)),
      transformed_(std::move(transformed)),
      order_(plan_.crops.size()),
      diverted_(plan_.divert.size()) {
    failures_.reserve(plan_.crops.size());  // so that reporting a lack of memory needs none
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(),
                     [this](int a, int b) { return source_->size_bytes(a) > source_->size_bytes(b); });
}

void Batch::run(int item, Workspace& workspace) noexcept {
    const int index = order_[static_cast<std::size_t>(item)];
    const auto begin = Clock::now();
    Fetched fetched;
    try {
        const ByteView bytes = source_->bytes(index, plan_.options.limits, workspace.encoded, fetched);
        const auto i = static_cast<std::size_t>(index);
        Diverted* diverted = !plan_.divert.empty() && plan_.divert[i] != 0 ? &diverted_[i] : nullptr;
        if (transformed_.empty())
            render(plan_, index, bytes, foreign_.get(), workspace, diverted, fetched.rest);
        else
            render_transformed(plan_, transformed_[i], bytes, foreign_.get(), workspace, fetched.rest);
    } catch (const ReadError& error) {
        fail(index, Failure::io, error.what(), error.error());
    } catch (const std::bad_alloc&) {
        fail(index, Failure::decode, "not enough memory to decode this image");
    } catch (const std::exception& error) {
        fail(index, Failure::decode, error.what());
    }
    const std::int64_t reading = fetched.file.nanoseconds() + fetched.partial.nanoseconds();
    bytes_read_ += fetched.file.bytes_read();
    read_nanoseconds_ += reading;
    decode_nanoseconds_ += nanoseconds_since(begin) - reading;
}

void Batch::fail(int index, Failure kind, const char* message, int error) noexcept {
    const std::size_t image_bytes = plan_.image_bytes();
    const auto i = static_cast<std::size_t>(index);
    if (transformed_.empty())
        std::memset(plan_.out + image_bytes * i, 0, image_bytes);
    else
        std::memset(plan_.out + image_bytes * static_cast<std::size_t>(transformed_[i].first), 0,
                    image_bytes * transformed_[i].pictures.size());
    const std::lock_guard<std::mutex> lock(failures_mutex_);
    try {
        failures_.push_back({index, kind, message, error});
    } catch (const std::bad_alloc&) {  // the report must not be lost: an empty message fits everywhere
        failures_.push_back({index, kind, {}, error});
    }
}

std::vector<ImageFailure> Batch::failures(bool done) const {
    std::vector<ImageFailure> all;
    {
        const std::lock_guard<std::mutex> lock(failures_mutex_);
        all = failures_;
    }
    for (int item = done ? begun() : items(); item < items(); item++)
        all.push_back(
            {order_[static_cast<std::size_t>(item)], Failure::cancelled, "the job was cancelled", 0});
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.index < b.index; });
    return all;
}

}  // namespace gs
