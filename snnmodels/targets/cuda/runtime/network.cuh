// A network and the tapes of its trials as the device has them. Every trial is the work of one block; neuron j of a population
// belongs to thread j % THREADS, and nobody else touches its states and costates while it may.
#pragma once
#include "taylor.h"

namespace snn {

struct Population
{
    int model, n, width, S, G;
    std::int64_t states, neurons;        // where its own begin in arrays of the states, and of the neurons, of all populations
    double shortest;                     // delay of what it projects into its own component
    const double* const* parameters;     // one value, or one for each neuron
    const double *initial, *bounds, *peak_bounds;
    const void* controls[3];             // of Taylor steps (see taylor.h): its own, while refractory, and of its largest value
    const double* cotangent;             // (trials, n, read), or null
    int read;
    double* gradients;                   // (chunks, G, width)
};

struct Projection
{
    int source, target, receptor;  // source: inputs count first
    int sparse, delayed, timed, rows, width;
    std::int64_t entries;
    const double *weight, *delay;  // delay: one, or one for each entry
    const std::int64_t* first;     // sparse: where the entries of a row begin
    const int* neuron;             // their targets; of a row by delay, where they differ, else ascending
    double *weight_gradients, *delay_gradients;  // (chunks, entries), (chunks, entries or 1)
    // States of its source neurons, a population of the network behind those that are simulated; -1 for none. They set the
    // amplitude by which the weights of a spike are multiplied, see targets/cpp/runtime/sources.h
    int sources;
    double *amplitude, *error;     // (trials, room of the source's train): of every spike, and what the loss says of it
    double *interval, *begun, *due;  // likewise: since its neuron's spike before; the S states just after that, and just before it
    int *sent, *left;              // (trials): spikes done forward, and spikes to be done backward
};

// Spikes of an input or a population; arrays (trials, room), in the order of time
struct Train
{
    double *t, *sens, *before;  // before: the S states just before the reset
    int *neuron, *place, *round, *cause;  // place: among the spikes of its neuron (of an input: in the array given)
    int* count;                 // (trials)
    int room;
    // of inputs
    const double* given;        // (trials, n, per), padded with inf
    double* gradient;
    int n, per;
};

struct Drive
{
    int population, input, state, knots, shared, n;  // input: among those of its population, -1 where no condition reads it
    const double *times, *jumps, *values, *slopes;
    double *value_gradient, *slope_gradient;
    SNN_INLINE std::int64_t row(int trial, int knot) const { return (std::int64_t(shared ? 0 : trial) * knots + knot) * n; }
    SNN_INLINE std::int64_t gradient_row(int trial, int knot) const { return (std::int64_t(trial) * knots + knot) * n; }
};

// A time at which states are read, and the readings: numbers from `first` to `last` in a list of all
struct Stop { double t; int first, last; };
struct Reading { int sampling, place; };
struct Sampling { int population, state, count; double* values; const double* error; };

struct Arrival { int projection, neuron, spike, entry; };  // entry: of a projection with delays of its own, else -1
// A spike, or an event of a model that is none: then of the neuron `spike`
struct Own { double t; int population, spike, kind; };
constexpr int SPIKE = -1;
struct Release { int population, neuron, spike; };
struct Knot { int drive, number; };
// An event while it is not yet in its place
struct Raw { double t; int population, neuron, cause, kind; };
// Knots, releases and arrivals at t, spikes that they cause at once, then the flow to `end` with crossings; by where lists end
struct Piece { double t, end; int releases, arrivals, instants, owns, knots, stop; };

struct Room { int pieces, arrivals, instants, owns, releases; };  // of one component in one trial

struct Component
{
    int populations, incoming, drives;
    const int *population, *projection, *drive;
    bool feedback;
    Room room;
    std::int64_t states;       // of all its populations, padded
    int needs_states;          // whether the backward pass reads states between its own spikes
    // (trials, room)
    Piece* piece;
    Arrival* arrival;
    Own *instant, *own;
    Release* release;
    Knot* knot;
    int knots;                 // of one trial
    double* released;          // states at every release, `most` each
    double* turned;            // states just before every own event that is no spike, likewise
    double* kept;              // (trials, pieces, 2, states): before and after the start of each piece
    int* pieces;               // (trials): how many there are
};

struct Peaks { double *value, *time, *slope; int *piece, *kind; };  // (trials, width of the read-out)
enum PeakKind { START, EDGE, JUMP, INSIDE };

enum FailureKind { NONE, ABOVE, RESET, RUNAWAY, CASCADE, SLIDES, TURNS, SPIKES, NOT_FINITE, STUCK, UNFINISHED, FLAT, FLAT_TURN, AMPLITUDE };
struct TrialFailure { int kind, population, neuron; double time; };

struct Network
{
    int inputs, populations, groups, projections, components, drives, stops, samplings, trials, chunks, most;  // groups: populations, then states of sources; most: states of a neuron
    int maxima, readout, observed, input_gradients;
    double duration, window, max_spikes;
    std::int64_t states, neurons;  // of all populations, padded
    const Population* population;
    const Projection* projection;
    const Train* train;            // of inputs, then of populations
    const Component* component;
    const Drive* drive;
    const Stop* stop;
    const Reading* reading;
    const Sampling* sampling;
    // (trials, ...)
    double *x, *when, *until, *costate;
    int *held, *held_end, *since, *fired, *counts, *cursor, *along;  // cursor: of projections, then of drives; along: see Forward
    std::int64_t along_size;
    const std::int64_t* along_at;  // by projection: where the places along the rows of its source's spikes begin
    Raw* raw;
    double* raw_before;
    int raw_room;
    Peaks peaks;
    double* maxima_values;         // (trials, n of the read-out)
    const double* maxima_error;
    double* smallest;              // (trials)
    int* ties;
    TrialFailure* failure;
    int *overflow;                 // by component, kind of room: what would have been needed; then by population: spikes; raw
};

}  // namespace snn
