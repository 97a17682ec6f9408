// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace mirage {

// glibc never reuses blocks of this size or larger (DEFAULT_MMAP_THRESHOLD_MAX): it maps new memory, and the kernel that
// writes an output causes a page fault on each page. Smaller blocks are mostly reused.
constexpr int64_t kFreshBytes = 32 << 20;

// Ask for pages of 2 MiB instead of 4 KiB, where the system leaves it to the program. It may refuse: all still works.
inline void prefer_huge_pages([[maybe_unused]] void* begin, [[maybe_unused]] int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto first = (reinterpret_cast<uintptr_t>(begin) + page - 1) & ~(page - 1);
  const auto last = (reinterpret_cast<uintptr_t>(begin) + static_cast<uintptr_t>(bytes)) & ~(page - 1);
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

}  // namespace mirage
