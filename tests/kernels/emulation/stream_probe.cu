// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
//
// Asks for the current stream of device 3, as every CUDA operation does.
#include <string>

#include "torch/cuda.h"

static std::string error;

#define EXPORT extern "C" __attribute__((visibility("default")))

// The stream, or -1.
EXPORT long long current_stream() {
  try {
    return reinterpret_cast<long long>(mirage::current_stream(3));
  } catch (const std::exception& caught) {
    error = caught.what();
    return -1;
  }
}

// What the last call failed with.
EXPORT const char* why_no_stream() { return error.c_str(); }
