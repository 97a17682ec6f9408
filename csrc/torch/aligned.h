// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <new>

namespace mirage {

constexpr std::align_val_t kCacheLine{64};

struct DeleteAligned {
  void operator()(void* memory) const { ::operator delete(memory, kCacheLine); }
};

template <class T>
using Aligned = std::unique_ptr<T[], DeleteAligned>;

// Uninitialized, on a cache line of its own: the stores of a whole register are slow where they cross one.
template <class T>
Aligned<T> make_aligned(int64_t count) {
  return Aligned<T>(static_cast<T*>(::operator new(static_cast<size_t>(count) * sizeof(T), kCacheLine)));
}

}  // namespace mirage
