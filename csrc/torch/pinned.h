// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>
#include <vector>

#include "cuda.h"

namespace mirage {

constexpr size_t kPinnedBytes = 64;

// Page-locked blocks that are not in use. They are never freed: there are only as many as calls have run at the same
// time, and a free would wait for the device, or come after the driver has shut down.
class PinnedBlocks {
 public:
  static PinnedBlocks& all() {
    static PinnedBlocks* const blocks = new PinnedBlocks;  // outlives threads still at work when the process ends
    return *blocks;
  }
  void* take() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!free_.empty()) {
        void* block = free_.back();
        free_.pop_back();
        return block;
      }
    }
    void* block = nullptr;
    check_cuda(cudaHostAlloc(&block, kPinnedBytes, cudaHostAllocPortable | cudaHostAllocMapped));
    return block;
  }
  void give_back(void* block) {
    const std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(block);
  }

 private:
  std::mutex mutex_;
  std::vector<void*> free_;
};

// A value that a kernel writes straight into memory of the host, so that no copy has to be launched.
template <class T>
class Pinned {
  static_assert(sizeof(T) <= kPinnedBytes);

 public:
  Pinned() : block_(PinnedBlocks::all().take()) {}
  ~Pinned() {
    if (unused_) PinnedBlocks::all().give_back(block_);
  }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

  // On every device: addresses are unified.
  T* of_device() {
    unused_ = false;
    return static_cast<T*>(block_);
  }
  // Waits for everything on the stream, the writer among it.
  const T& wait(cudaStream_t stream) {
    check_cuda(cudaStreamSynchronize(stream));
    unused_ = true;
    return *static_cast<const T*>(block_);
  }

 private:
  void* block_;
  bool unused_ = true;  // by a kernel: after an error one may still write to it, and the block is lost
};

}  // namespace mirage
