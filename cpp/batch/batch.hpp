// Many images into one array: where their bytes are, which part of each, and what becomes of the pixels.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/lazy_bytes.hpp"
#include "batch/pool.hpp"
#include "batch/reader.hpp"
#include "batch/transformed.hpp"
#include "image/render.hpp"

namespace gs {

// The bytes of one image in a file, and what was read of them.
class FileBytes : public LazyBytes {
  public:
    void need(std::size_t begin, std::size_t end) override;
    std::int64_t bytes_read() const { return bytes_read_; }
    std::int64_t nanoseconds() const { return nanoseconds_; }

  private:
    friend class FileSource;
    FileSet* files_ = nullptr;
    int file_ = 0;
    std::int64_t offset_ = 0;
    std::size_t size_ = 0, front_ = 0;  // of the image; of its beginning that is there
    std::size_t lead_ = 0;              // bytes before the image that are read with its beginning
    std::uint8_t* to_ = nullptr;
    std::int64_t bytes_read_ = 0, nanoseconds_ = 0;
};

// An image of `size` bytes of which only some are in memory: the first `head.size`, and `body` from `at` on.
struct PartialImage {
    std::size_t size = 0;
    ByteView head;
    ByteView body;
    std::size_t at = 0;
};

// Gets whole images of which parts were given. Called from any thread.
class WholeImages {
  public:
    virtual ~WholeImages() = default;
    // Puts all `size` bytes of image `item` to `to`. Throws ReadError.
    virtual void get(int item, std::uint8_t* to, std::size_t size) = 0;
};

// The bytes of one image of which parts were given. Whatever else is asked for, all of it is fetched.
class PartialBytes : public LazyBytes {
  public:
    void need(std::size_t begin, std::size_t end) override;
    std::int64_t nanoseconds() const { return nanoseconds_; }

  private:
    friend class MemorySource;
    const PartialImage* image_ = nullptr;
    WholeImages* whole_ = nullptr;
    int item_ = 0;
    std::uint8_t* to_ = nullptr;
    bool complete_ = false;
    std::int64_t nanoseconds_ = 0;
};

// What a source knows of the bytes that it gave, and gets when they were not all.
struct Fetched {
    FileBytes file;
    PartialBytes partial;
    LazyBytes* rest = nullptr;  // what a decoder is to ask for the rest; nullptr: all of the image is there
};

// Where the encoded bytes of the images come from.
class Source {
  public:
    virtual ~Source() = default;
    // Valid until `scratch` is used again or `fetched` is gone. Throws ReadError or DecodeError (more bytes
    // than the limit).
    virtual ByteView bytes(int item, const Limits& limits, Buffer& scratch, Fetched& fetched) = 0;
    virtual std::int64_t size_bytes(int item) const = 0;
};

// Images in memory; those in `partials` (by their place in the batch) only in part.
class MemorySource : public Source {
  public:
    explicit MemorySource(std::vector<ByteView> views, std::map<int, PartialImage> partials = {},
                          std::shared_ptr<WholeImages> whole = nullptr)
        : views_(std::move(views)), partials_(std::move(partials)), whole_(std::move(whole)) {}
    ByteView bytes(int item, const Limits& limits, Buffer& scratch, Fetched& fetched) override;
    std::int64_t size_bytes(int item) const override {
        return static_cast<std::int64_t>(views_[static_cast<std::size_t>(item)].size);
    }

  private:
    std::vector<ByteView> views_;  // of a partial image its size, and no data
    std::map<int, PartialImage> partials_;
    std::shared_ptr<WholeImages> whole_;
};

class FileSource : public Source {
  public:
    struct Range {
        std::int64_t offset;
        std::int64_t size;
        int file;
    };
    // `names`: how the name of each image in its tar begins, which is compared with the header before it; or
    // none, where files are no tars.
    FileSource(std::shared_ptr<FileSet> files, std::vector<Range> ranges, std::vector<std::string> names = {})
        : files_(std::move(files)), ranges_(std::move(ranges)), names_(std::move(names)) {}
    ByteView bytes(int item, const Limits& limits, Buffer& scratch, Fetched& fetched) override;
    std::int64_t size_bytes(int item) const override { return ranges_[static_cast<std::size_t>(item)].size; }

  private:
    std::shared_ptr<FileSet> files_;
    std::vector<Range> ranges_;
    std::vector<std::string> names_;
};

enum class Failure : std::uint8_t { decode, io, cancelled };

struct ImageFailure {
    int index;
    Failure kind;
    std::string message;
    int error = 0;  // the system's number of an error of reading; 0: none
};

class Batch : public Work {
  public:
    // `transformed` has one entry per image, whose pictures fill the output one after the other; or none.
    Batch(BatchPlan plan, std::unique_ptr<Source> source, std::shared_ptr<ForeignDecoder> foreign,
          std::vector<Transformed> transformed = {});
    void run(int item, Workspace& workspace) noexcept override;

    // What was left to another decoder, by index; its place in the output is not touched. Only when done.
    const std::vector<Diverted>& diverted() const { return diverted_; }

    // Sorted by index. `done`: wait() has said true, and what a cancelled job left undone is listed too.
    std::vector<ImageFailure> failures(bool done) const;
    std::int64_t bytes_read() const { return bytes_read_; }
    double read_seconds() const { return static_cast<double>(read_nanoseconds_) * 1e-9; }
    double decode_seconds() const { return static_cast<double>(decode_nanoseconds_) * 1e-9; }

  private:
    void fail(int index, Failure kind, const char* message, int error = 0) noexcept;

    const BatchPlan plan_;
    const std::unique_ptr<Source> source_;
    const std::shared_ptr<ForeignDecoder> foreign_;
    const std::vector<Transformed> transformed_;
    std::vector<int> order_;  // item to index: large images first, so that no thread ends with one alone
    std::vector<Diverted> diverted_;  // one per image or none; each written by the thread that has the image
    mutable std::mutex failures_mutex_;
    std::vector<ImageFailure> failures_;
    std::atomic<std::int64_t> bytes_read_{0}, read_nanoseconds_{0}, decode_nanoseconds_{0};
};

}  // namespace gs
