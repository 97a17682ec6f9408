// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
//
// Linked to the emulated operations: tells the tests what these asked of the device.
extern "C" __attribute__((visibility("default"))) const emulation::Operations* emulated_operations() {
  return &emulation::operations;
}
