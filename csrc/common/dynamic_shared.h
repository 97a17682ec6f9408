// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Declares shared memory whose size is that of the launch. (The tests replace this header: name it by its full path.)
#define MIRAGE_DYNAMIC_SHARED(T, name)                              \
  extern __shared__ __align__(16) unsigned char name##_of_launch[]; \
  T* const name = reinterpret_cast<T*>(name##_of_launch)
