// How the command ends.

#pragma once

inline constexpr int exit_ok = 0;
inline constexpr int exit_failure = 1;
inline constexpr int exit_usage = 2;
inline constexpr int exit_diverged = 3;
inline constexpr int exit_checkpoint = 4;  // one that cannot be used
inline constexpr int exit_stopped = 75;    // EX_TEMPFAIL of sysexits.h: to be continued
