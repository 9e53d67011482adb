// libjpeg's memory manager, replaced by arenas whose blocks are used again from image to image.
//
// libjpeg's own manager returns its pools to malloc after each image (about twenty calls per image, and the
// coefficient arrays of a progressive file are megabytes). This one implements the same interface
// (jpeg_memory_mgr, libjpeg.txt "Memory management"), keeps everything in memory, and gives blocks back only
// when an unusually large image has left more than kRetainedBytes behind.
#pragma once

#include <cstddef>
#include <cstdio>
// jpeglib.h needs FILE and size_t declared before it.
#include <jpeglib.h>

namespace gs {

class JpegMemory {
  public:
    JpegMemory();
    ~JpegMemory();
    JpegMemory(const JpegMemory&) = delete;
    JpegMemory& operator=(const JpegMemory&) = delete;

    // Takes the place of the manager that jpeg_create_decompress made; `release` puts that one back, which
    // must happen before jpeg_destroy_decompress.
    void adopt(j_common_ptr cinfo);
    void release(j_common_ptr cinfo);

    static constexpr std::size_t kRetainedBytes = std::size_t{64} << 20;

  private:
    struct Block {
        Block* next;
        std::size_t size;  // bytes behind the header
        std::size_t used;
    };
    struct Pool {
        Block* first = nullptr;
        Block* current = nullptr;
        std::size_t total = 0;
    };
    // `methods` comes first in a standard-layout struct, so that libjpeg's pointer leads back to the object.
    struct Face {
        jpeg_memory_mgr methods;
        JpegMemory* owner;
    };

    static JpegMemory& of(j_common_ptr cinfo);
    static void* allocate(j_common_ptr cinfo, int pool, std::size_t bytes);
    static JSAMPARRAY allocate_samples(j_common_ptr cinfo, int pool, JDIMENSION width, JDIMENSION rows);
    static JBLOCKARRAY allocate_blocks(j_common_ptr cinfo, int pool, JDIMENSION width, JDIMENSION rows);
    static jvirt_sarray_ptr request_samples(j_common_ptr cinfo, int pool, boolean pre_zero, JDIMENSION width,
                                            JDIMENSION rows, JDIMENSION max_access);
    static jvirt_barray_ptr request_blocks(j_common_ptr cinfo, int pool, boolean pre_zero, JDIMENSION width,
                                           JDIMENSION rows, JDIMENSION max_access);
    static void realize(j_common_ptr cinfo);
    static JSAMPARRAY access_samples(j_common_ptr cinfo, jvirt_sarray_ptr array, JDIMENSION first,
                                     JDIMENSION rows, boolean writable);
    static JBLOCKARRAY access_blocks(j_common_ptr cinfo, jvirt_barray_ptr array, JDIMENSION first,
                                     JDIMENSION rows, boolean writable);
    static void free_pool(j_common_ptr cinfo, int pool);
    static void self_destruct(j_common_ptr cinfo);
    static void free_blocks(Pool& pool);

    Face face_;
    jpeg_memory_mgr* original_ = nullptr;
    Pool pools_[JPOOL_NUMPOOLS];
};

}  // namespace gs
