// The limit that the package is measured against: exact event simulation, by hand for one network, on one thread.
//
// Two layers, feed-forward: LIF neurons with exponential synapses, then either LIF neurons read by their first spikes,
// or leaky integrators read by the maxima of their potentials. Time is continuous. A window is cut into pieces at the
// arrivals; over a piece all neurons advance in blocks held in registers, those that may cross the threshold are
// searched eight at a time, and the spikes, sorted, are the arrivals of the next layer in the same window. The backward
// pass goes through the same lists in reverse, with costates that change only at a neuron's own events. A window is a
// span of look-ahead: results don't depend on it. Not computed: gradients by input spike times.

#include "adjoint.h"
#include "readout.h"

extern "C" struct Settings {
    int n_in, n_hidden, n_out, spiking_output, first_only, batch_size;
    double duration, window, tau_m, tau_s, v_th;
    double tau0, tau1, alpha; // of the loss on first spikes
};

namespace {

struct Trial {
    std::vector<double> input_time; // in order
    std::vector<int> input;
    std::vector<Piece> pieces;                     // of the hidden population
    std::vector<int> pieces_start, output_start;   // of each window, and their ends
    Spikes hidden, output;
    Stack<int> arrived; // hidden spikes before each output spike
    std::vector<Peak> peaks;
    std::vector<double> error; // derivative of the loss by each peak
};

// Weights, their gradients, and Adam's moments.
struct Weights {
    Weights(int n, int m) : w(n, m), gradient(n, m), first(n, m), second(n, m) {}

    void adam(double rate, int t) {
        constexpr double b1 = 0.9, b2 = 0.999, tiny = 1e-8;
        const double c1 = rate / (1 - std::pow(b1, t)), c2 = 1 / (1 - std::pow(b2, t));
        double *x = w[0], *g = gradient[0], *m = first[0], *s = second[0];
        for (std::size_t k = 0; k < w.size(); k++) {
            m[k] = b1 * m[k] + (1 - b1) * g[k];
            s[k] = b2 * s[k] + (1 - b2) * g[k] * g[k];
            x[k] -= c1 * m[k] / (std::sqrt(c2 * s[k]) + tiny);
        }
    }

    Rows w, gradient, first, second;
};

} // namespace

class Limit {
public:
    Limit(const Settings& s)
        : s(s), f(s.tau_m, s.tau_s), windows(std::max(1, int(std::ceil(s.duration / s.window - 1e-9)))),
          in(s.n_in, s.n_hidden), out(s.n_hidden, s.n_out), trials(s.batch_size), hidden(f, s.v_th, s.n_hidden),
          output(f, s.v_th, s.n_out, s.first_only), readout(f, s.n_out), hidden_bar(f, s.v_th, s.n_hidden),
          output_bar(f, s.v_th, s.n_out) {}

    // times: (trials, n_in), seconds; anything from the end of the trial on is no spike
    void forward(const double* times, int n) {
        used = n;
        for (int b = 0; b < n; b++) run(times + std::size_t(b) * s.n_in, trials[b]);
    }

    double loss(const std::int64_t* labels) {
        double total = 0;
        for (int b = 0; b < used; b++)
            total += s.spiking_output ? first_spikes(trials[b], int(labels[b])) : maxima(trials[b], int(labels[b]));
        return total / used;
    }

    void backward() {
        in.gradient.clear();
        out.gradient.clear();
        const int vectors = (s.n_out + LANES - 1) / LANES;
        for (int b = 0; b < used; b++) switch (vectors) {
            case 1: back<1>(trials[b]); break;
            case 2: back<2>(trials[b]); break;
            default: back<0>(trials[b]);
            }
    }

    void adam(double rate) {
        updates++;
        in.adam(rate, updates);
        out.adam(rate, updates);
    }

    double hidden_spikes() const {
        double total = 0;
        for (int b = 0; b < used; b++) total += trials[b].hidden.size();
        return total / used;
    }

    const Settings s;
    const Flow f;
    const int windows;
    Weights in, out;
    std::vector<Trial> trials;

private:
    double start_of(int window) const { return window < windows ? window * s.window : s.duration; }

    // --- forward ---------------------------------------------------------------------------------------------------

    void run(const double* times, Trial& t) {
        sort_inputs(times, t);
        t.hidden.clear();
        t.output.clear();
        t.arrived.clear();
        t.pieces.clear();
        t.pieces_start.clear();
        t.output_start.clear();
        hidden.reset();
        output.reset();
        readout.reset();
        int next = 0, arrived = 0;
        for (int k = 0; k < windows; k++) {
            t.pieces_start.push_back(int(t.pieces.size()));
            next = cut(start_of(k), start_of(k + 1), next, t);
        }
        t.pieces_start.push_back(int(t.pieces.size()));
        add_flows(t.pieces);
        for (int k = 0; k < windows; k++) {
            for (int m = t.pieces_start[k]; m < t.pieces_start[k + 1]; m++) {
                Piece& p = t.pieces[m];
                p.spikes = t.hidden.size();
                hidden.sweep(p, t.input.data(), in.w, t.hidden);
                p.spikes_end = t.hidden.size();
            }
            t.output_start.push_back(t.output.size());
            cut_at_spikes(start_of(k), start_of(k + 1), arrived, t.hidden);
            add_flows(between);
            arrived = t.hidden.size();
            const int* sources = t.hidden.neuron.data();
            if (s.spiking_output)
                for (const Piece& p : between) {
                    output.sweep(p, sources, out.w, t.output);
                    while (t.arrived.size() < t.output.size()) t.arrived.push(p.arrivals_end);
                }
            else readout.sweep(between.data(), between.data() + between.size(), sources, out.w);
        }
        t.output_start.push_back(t.output.size());
        if (!s.spiking_output) readout.peaks(t.peaks);
    }

    void sort_inputs(const double* times, Trial& t) {
        spiking.resize(s.n_in + 1);
        int n = 0;
        for (int j = 0; j < s.n_in; j++) { // without branches, which nobody could predict
            spiking[n] = j;
            n += times[j] < s.duration;
        }
        constexpr int bins = 257; // rounding may put the last times into the last one
        const double scale = (bins - 1) / s.duration;
        const auto bin = [&](int j) { return int(times[j] * scale); };
        place.assign(bins + 1, 0);
        for (int k = 0; k < n; k++) place[bin(spiking[k]) + 1]++;
        for (int k = 0; k < bins; k++) place[k + 1] += place[k];
        t.input_time.resize(n);
        t.input.resize(n);
        for (int k = 0; k < n; k++) {
            const int j = spiking[k], to = place[bin(j)]++;
            t.input_time[to] = times[j], t.input[to] = j;
        }
        for (int k = 1; k < int(t.input.size()); k++) {
            const double time = t.input_time[k];
            const int j = t.input[k];
            int to = k;
            for (; to > 0 && time < t.input_time[to - 1]; to--)
                t.input_time[to] = t.input_time[to - 1], t.input[to] = t.input[to - 1];
            t.input_time[to] = time, t.input[to] = j;
        }
    }

    // Cut a window at the inputs from `next` on; those of one instant share a piece. Returns the first of the next one.
    int cut(double from, double to, int next, Trial& t) {
        const std::vector<double>& at = t.input_time;
        const int n = int(at.size());
        while (true) {
            const int arrivals = next;
            while (next < n && at[next] <= from) next++;
            const double until = next < n && at[next] < to ? at[next] : to;
            Piece& p = t.pieces.emplace_back();
            p.start = from;
            p.length = until - from;
            p.arrivals = arrivals;
            p.arrivals_end = next;
            if (until == to) return next;
            from = until;
        }
    }

    // Cut a window at each hidden spike from `first` on.
    void cut_at_spikes(double from, double to, int first, Spikes& spikes) {
        between.resize(spikes.size() - first + 1);
        for (int k = first; k <= spikes.size(); k++) {
            const double until = k < spikes.size() ? spikes.time[k] : to;
            Piece& p = between[k - first]; // field by field: faster than to copy a whole one
            p.start = from;
            p.length = std::max(until - from, 0.0);
            p.arrivals = std::max(k - 1, first);
            p.arrivals_end = k;
            from = until;
        }
    }

    void add_flows(std::vector<Piece>& pieces) {
        const int n = int(pieces.size());
        double *x = lengths.resize(n), *m = ems.resize(n), *r = ess.resize(n);
        for (int k = 0; k < n; k++) x[k] = pieces[k].length;
        for (int k = 0; k < n; k += LANES) {
            const V length = load(x + k);
            store(m + k, exponential(length * -f.rate_m));
            store(r + k, exponential(length * -f.rate_s));
        }
        for (int k = 0; k < n; k++) pieces[k].em = m[k], pieces[k].es = r[k];
    }

    // --- losses ----------------------------------------------------------------------------------------------------

    // -log softmax(-t/tau0) + alpha (exp(t_y/tau1) - 1) on first spikes; see snnmodels.losses.TTFSCrossEntropy
    double first_spikes(Trial& t, int label) {
        Spikes& e = t.output;
        double* sensitivity = e.sensitivity.resize(e.size());
        std::fill_n(sensitivity, e.size(), 0.0);
        first.assign(s.n_out, -1);
        for (int k = e.size() - 1; k >= 0; k--) first[e.neuron[k]] = k;
        if (first[label] < 0) return std::log(s.n_out);
        const double at = e.time[first[label]], early = std::expm1(at / s.tau1), earliest = e.time[0];
        double total = 0;
        for (int k : first)
            if (k >= 0) total += std::exp((earliest - e.time[k]) / s.tau0);
        for (int k : first)
            if (k >= 0) sensitivity[k] = -std::exp((earliest - e.time[k]) / s.tau0) / total / s.tau0 / used;
        sensitivity[first[label]] += (1 / s.tau0 + s.alpha / s.tau1 * (early + 1)) / used;
        return std::log(total) + (at - earliest) / s.tau0 + s.alpha * early;
    }

    // -log softmax of the maxima
    double maxima(Trial& t, int label) {
        double top = t.peaks[0].value, total = 0;
        for (const Peak& p : t.peaks) top = std::max(top, p.value);
        for (const Peak& p : t.peaks) total += std::exp(p.value - top);
        t.error.resize(s.n_out);
        for (int j = 0; j < s.n_out; j++) t.error[j] = (std::exp(t.peaks[j].value - top) / total - (j == label)) / used;
        return std::log(total) - (t.peaks[label].value - top);
    }

    // --- backward --------------------------------------------------------------------------------------------------

    // B: vectors of the output population, 0 for any number
    template <int B> void back(Trial& t) {
        hidden_bar.clear();
        output_bar.clear();
        double* by_time = t.hidden.sensitivity.resize(t.hidden.size());
        std::fill_n(by_time, t.hidden.size(), 0.0);
        peaks_by_time.clear();
        if (!s.spiking_output)
            for (int j = 0; j < s.n_out; j++)
                if (t.peaks[j].kind != Peak::none) peaks_by_time.push_back(j);
        std::sort(peaks_by_time.begin(), peaks_by_time.end(),
                  [&](int a, int b) { return t.peaks[a].time > t.peaks[b].time; });
        std::size_t peak = 0;
        for (int k = windows - 1; k >= 0; k--) {
            const double start = start_of(k);
            hidden_bar.age(s.window);
            output_bar.age(s.window);
            const int from = t.pieces[t.pieces_start[k]].spikes, to = t.pieces[t.pieces_start[k + 1] - 1].spikes_end;
            at_hidden.set(f, t.hidden.time.data() + from, to - from, start);
            const int out_from = t.output_start[k];
            int o = t.output_start[k + 1] - 1;
            at_output.set(f, t.output.time.data() + out_from, o + 1 - out_from, start);
            for (int a = to - 1; a >= from - 1; a--) { // what comes after the arrival a, then the arrival
                for (; o >= out_from && t.arrived[o] > a; o--)
                    output_bar.spike(t.output.neuron[o], t.output.current[o], t.output.sensitivity[o],
                                     at_output.m[o - out_from], at_output.s[o - out_from]);
                for (; peak < peaks_by_time.size(); peak++) {
                    const int j = peaks_by_time[peak];
                    const Peak& p = t.peaks[j];
                    if (p.time <= start || p.after <= a) break;
                    output_bar.pull(j, t.error[j], p.time - start);
                    // a maximum where an arrival is moves with it
                    if (p.after < t.hidden.size()) by_time[p.after] += t.error[j] * p.rate;
                }
                if (a >= from && output_bar.active) {
                    const int j = t.hidden.neuron[a];
                    by_time[a] += output_bar.arrival<B>(out.w[j], out.gradient[j], at_hidden.m[a - from],
                                                        at_hidden.s[a - from]);
                }
            }
            for (int m = t.pieces_start[k + 1] - 1; m >= t.pieces_start[k]; m--) {
                const Piece& p = t.pieces[m];
                for (int e = p.spikes_end - 1; e >= p.spikes; e--)
                    hidden_bar.spike(t.hidden.neuron[e], t.hidden.current[e], by_time[e], at_hidden.m[e - from],
                                     at_hidden.s[e - from]);
                if (p.arrivals < p.arrivals_end && hidden_bar.active) {
                    const double x = p.start - start;
                    hidden_bar.arrivals(t.input.data() + p.arrivals, t.input.data() + p.arrivals_end, in.gradient,
                                        std::exp(x * f.rate_m), std::exp(x * f.rate_s));
                }
            }
        }
    }

    Lif hidden, output;
    Readout readout;
    Costates hidden_bar, output_bar;
    std::vector<Piece> between; // hidden spikes, of one window
    Growth at_hidden, at_output;
    Stack<double> lengths, ems, ess;
    std::vector<int> spiking, place, first, peaks_by_time;
    int used = 0, updates = 0;
};

extern "C" {

Limit* limit_new(const Settings* s) { return new Limit(*s); }
void limit_free(Limit* x) { delete x; }
void limit_set(Limit* x, const double* in, const double* out) {
    x->in.w.set(in);
    x->out.w.set(out);
}
void limit_get(Limit* x, double* in, double* out) {
    x->in.w.get(in);
    x->out.w.get(out);
}
void limit_gradient(Limit* x, double* in, double* out) {
    x->in.gradient.get(in);
    x->out.gradient.get(out);
}
void limit_forward(Limit* x, const double* times, int trials) { x->forward(times, trials); }
double limit_loss(Limit* x, const std::int64_t* labels) { return x->loss(labels); }
void limit_backward(Limit* x) { x->backward(); }
void limit_adam(Limit* x, double rate) { x->adam(rate); }
double limit_hidden_spikes(Limit* x) { return x->hidden_spikes(); }
// Spikes of the hidden (0) or the output population (1) in a trial, as many as there is room for; returns their number.
int limit_spikes(Limit* x, int trial, int population, double* times, int* neurons, int room) {
    Spikes& e = population ? x->trials[trial].output : x->trials[trial].hidden;
    const int n = std::min(room, e.size());
    std::copy_n(e.time.data(), n, times);
    std::copy_n(e.neuron.data(), n, neurons);
    return e.size();
}
int limit_is_portable() { return !HAS_AVX512; }
}
