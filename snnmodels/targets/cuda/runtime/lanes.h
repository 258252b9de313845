// What ladder.h, series.h and taylor.h, which are those of the C++ target, include for numbers: here the device's.
#pragma once
#include "device.cuh"
