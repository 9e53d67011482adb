// A growing byte buffer that never shrinks and never initialises: scratch memory reused from image to image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace gs {

class Buffer {
  public:
    Buffer() = default;
    ~Buffer() { std::free(data_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    // At least `size` bytes, 64-byte aligned; the content is not kept when the buffer grows.
    std::uint8_t* reserve(std::size_t size) {
        if (size > capacity_) {
            std::free(data_);
            data_ = nullptr;
            capacity_ = 0;
            std::size_t rounded = (size + size / 4 + 63) / 64 * 64;
            data_ = static_cast<std::uint8_t*>(std::aligned_alloc(64, rounded));
            if (data_ == nullptr) throw std::bad_alloc();
            capacity_ = rounded;
        }
        return data_;
    }
    void release() {
        std::free(data_);
        data_ = nullptr;
        capacity_ = 0;
    }
    std::uint8_t* data() { return data_; }
    std::size_t capacity() const { return capacity_; }

  private:
    std::uint8_t* data_ = nullptr;
    std::size_t capacity_ = 0;
};

}  // namespace gs
