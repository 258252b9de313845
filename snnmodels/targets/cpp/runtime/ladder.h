// Lengths for which bounds are tabulated, see events/bounds.py; on a graphics card, too.
#pragma once
#include "lanes.h"

namespace snn {

struct Ladder
{
    static constexpr int LEVELS = 49, PER_OCTAVE = 4;
    double longest = 1;
    // the shortest tabulated length that is not below s
    SNN_DEVICE int level(double s) const
    {
        const double x = s / longest;
        std::int64_t whole;
        std::memcpy(&whole, &x, 8);
        const int power = int(whole >> 52) - 1022;  // x = part 2^power, part in [1/2, 1); of what is no normal number it is the least
        // steps that it stays below 1, by its digits: lengths are anything, so that no branch could be guessed
        whole &= 0xfffffffffffff;
        const int quarters = (whole <= 0xae89f995ad3ae) + (whole <= 0x6a09e667f3bcd) + (whole <= 0x306fe0a31b715) + (whole <= 0);
        const int l = LEVELS - 1 + PER_OCTAVE * power - quarters;
        return !(s > 0) || l < 0 ? 0 : l > LEVELS - 1 ? LEVELS - 1 : l;
    }
#if defined(SNN_LANES)
    // the same of eight
    SNN_INLINE I8 level(D8 s) const
    {
        I8 whole = (I8)(s / longest);
        const I8 power = (whole >> 52) - 1022;
        whole &= 0xfffffffffffff;
        // what is true is -1
        const I8 quarters = (whole <= 0xae89f995ad3ae) + (whole <= 0x6a09e667f3bcd) + (whole <= 0x306fe0a31b715) + (whole <= 0);
        const I8 l = LEVELS - 1 + PER_OCTAVE * power + quarters, none = l - l;
        return !(s > 0.0) | (l < 0) ? none : l > LEVELS - 1 ? none + (LEVELS - 1) : l;
    }
#endif
};

}  // namespace snn
