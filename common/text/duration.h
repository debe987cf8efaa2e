// Durations for people to read.
#ifndef REPRO_COMMON_TEXT_DURATION_H_
#define REPRO_COMMON_TEXT_DURATION_H_

#include <string>

namespace repro {

// "0.4 s", "12 s", "3 min 20 s", "5 h 2 min"; empty for NaN, infinity and
// negative values.
std::string FormatDuration(double seconds);

}  // namespace repro

#endif  // REPRO_COMMON_TEXT_DURATION_H_
