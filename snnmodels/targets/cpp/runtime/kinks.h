// With which of the arrivals of one instant a maximum moves, as targets/numpy/tape.py says at `shares`.
#pragma once
#include "lanes.h"

namespace snn {

// The largest value of a state is the one just before arrivals, or just after them (`after`), with the slope that it has there.
// Hands on what each gets, beside what the costate of the value gives: give(k, share). `each` calls its argument with every
// arrival in order: its number, by how much it lowers the slope, and whether it moves the state itself. last: the trial ends
// there.
template <class Each, class Give> SNN_INLINE void kink(double slope, bool after, bool last, Each each, Give give)
{
    int n = 0, jump = 0;
    double later = 0;
    each([&](int k, double change, bool jumps) {
        n++;
        if (jumps || k == 0) later = 0;
        else later += change;
        if (jumps) jump = k;
    });
    double left = after ? slope + later : slope;  // just after the last that moves the state, or just before all
    bool falls = false;
    each([&](int k, double change, bool) {
        if (after)
        {
            if (k < jump) return;
            if (falls) return give(k, -change);
            if (k > jump) left -= change;
            if (left <= 0 || (k == n - 1 && !last)) give(k, left), falls = true;
        }
        else if (!falls)
        {
            falls = left - change <= 0 || (k == n - 1 && !last);
            give(k, falls ? left : change);
            left -= change;
        }
    });
}

}  // namespace snn
