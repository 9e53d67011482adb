// An image whose bytes are fetched when a decoder asks for them.
#pragma once

#include <cstddef>

namespace gs {

// Goes with a ByteView of the whole image in which only some bytes are there yet: the first `head`, or all of
// a shorter image. The head holds the image's header at the least (64 bytes).
class LazyBytes {
  public:
    static constexpr std::size_t kLazyHead = 32 << 10;
    explicit LazyBytes(std::size_t head = kLazyHead) : head_(head) {}
    virtual ~LazyBytes() = default;
    std::size_t head() const { return head_; }
    // Puts the bytes from `begin` up to `end`, at most the image's size, into their place. Throws ReadError.
    virtual void need(std::size_t begin, std::size_t end) = 0;

  protected:
    std::size_t head_;
};

}  // namespace gs
