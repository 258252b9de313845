// The grid method, written by hand for one network, on one thread.
//
// Two layers, feed-forward: LIF neurons with exponential synapses, then either LIF neurons read by their first spikes, or
// leaky integrators read by the maxima of their potentials. Every step of the grid is taken, in both directions. An event
// inside a step is found from the state at the start of the step by bracketed Newton iteration and carried to the end of
// the step; the backward pass is the exact derivative of the forward pass. Not computed: gradients by input spike times.
//
// What makes it fast: trial after trial, so that a trial's state stays in the first-level cache; arrivals, step and
// threshold test in one pass, for 32 neurons in vector registers at a time; a root search that starts from a parabola;
// events in lists ordered by step; dense rows of weights padded to whole vectors.

#include "layers.h"

#include <cstdint>
#include <memory>

extern "C" struct Settings {
    int n_in, n_hidden, n_out, steps, spiking_output, batch_size;
    double dt, tau_m, tau_s, v_th;
    double tau0, tau1, alpha; // of the loss on first spikes
};

namespace {

struct Trial {
    Events input, hidden, output;
    std::vector<Peak> peaks;
    std::vector<double> error; // derivative of the loss by each peak
};

// Weights, their gradients, and Adam's moments.
struct Weights {
    Weights(int n, int m) : w(n, m), gradient(n, m), first(n, m), second(n, m) {}

    void adam(double rate, int t) {
        constexpr double b1 = 0.9, b2 = 0.999, tiny = 1e-8;
        const double c1 = rate / (1 - std::pow(b1, t)), c2 = 1 / (1 - std::pow(b2, t));
        double *x = w.at(0), *g = gradient.at(0), *m = first.at(0), *s = second.at(0);
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
        : s(s), f(s.tau_m, s.tau_s, s.dt), in(s.n_in, s.n_hidden), out(s.n_hidden, s.n_out), hidden(s.n_hidden),
          output(s.n_out), readout(s.n_out), hidden_bar(s.n_hidden), output_bar(s.n_out), trials(s.batch_size) {}

    // times: (trials, n_in), seconds; anything from the end of the trial on is no spike
    void forward(const double* times, int n) {
        used = n;
        for (int b = 0; b < n; b++) {
            Trial& t = trials[b];
            schedule(times + std::size_t(b) * s.n_in, t.input);
            t.hidden.clear();
            t.output.clear();
            hidden.reset();
            output.reset();
            readout.reset(t.peaks);
            for (int step = 0; step < s.steps; step++) {
                const int before = std::max(step - 1, 0), first = std::min(step, 1);
                t.hidden.start.push_back(int(t.hidden.arrivals.size()));
                hidden.step(f, s.v_th, step, t.input.begin(before), first ? t.input.end(before) : t.input.begin(before),
                            in.w, t.hidden);
                if (s.spiking_output) {
                    t.output.start.push_back(int(t.output.arrivals.size()));
                    const Arrival* from = t.hidden.begin(before);
                    const Arrival* to = first ? t.hidden.begin(step) : from;
                    output.step(f, s.v_th, step, from, to, out.w, t.output);
                } else {
                    const Arrival* from = t.hidden.begin(step);
                    readout.step(f, step, from, t.hidden.arrivals.data() + t.hidden.arrivals.size(), out.w, t.peaks);
                }
            }
            t.hidden.start.push_back(int(t.hidden.arrivals.size()));
            t.output.start.push_back(int(t.output.arrivals.size()));
        }
    }

    double loss(const std::int64_t* labels) {
        double total = 0;
        for (int b = 0; b < used; b++) total += s.spiking_output ? first_spikes(b, int(labels[b])) : maxima(b, int(labels[b]));
        return total / used;
    }

    void backward() {
        in.gradient.clear();
        out.gradient.clear();
        for (int b = 0; b < used; b++) {
            Trial& t = trials[b];
            hidden_bar.clear();
            output_bar.clear();
            for (int n = s.steps - 1; n >= 0; n--) {
                if (!s.spiking_output) at_peaks(t, n);
                for (int e = t.hidden.start[n]; e < t.hidden.start[n + 1]; e++) {
                    const Arrival& a = t.hidden.arrivals[e];
                    hidden_bar.jump(f, a, t.hidden.spikes[e], output_bar.time(f, a, out.w[a.source]));
                }
                if (s.spiking_output)
                    for (int e = t.output.start[n]; e < t.output.start[n + 1]; e++)
                        output_bar.jump(f, t.output.arrivals[e], t.output.spikes[e], 0.0);
                output_bar.step(f, t.hidden.begin(n), t.hidden.end(n), out.gradient);
                hidden_bar.step(f, t.input.begin(n), t.input.end(n), in.gradient);
            }
        }
    }

    void adam(double rate) {
        updates++;
        in.adam(rate, updates);
        out.adam(rate, updates);
    }

    double hidden_spikes() const {
        std::size_t total = 0;
        for (int b = 0; b < used; b++) total += trials[b].hidden.spikes.size();
        return double(total) / used;
    }

    const Settings s;
    const Flow f;
    Weights in, out;

private:
    void schedule(const double* times, Events& events) {
        // counting sort by step
        events.clear();
        events.start.assign(s.steps + 1, 0);
        step_of.resize(s.n_in);
        for (int i = 0; i < s.n_in; i++) {
            step_of[i] = times[i] < s.steps * s.dt ? int(times[i] / s.dt + 1e-9) : -1;
            if (step_of[i] >= 0) events.start[step_of[i] + 1]++;
        }
        for (int n = 0; n < s.steps; n++) events.start[n + 1] += events.start[n];
        order.resize(events.start[s.steps]);
        place.assign(events.start.begin(), events.start.end());
        for (int i = 0; i < s.n_in; i++)
            if (step_of[i] >= 0) order[place[step_of[i]]++] = i;
        for (int i : order) {
            const double after = (step_of[i] + 1) * s.dt - times[i];
            events.arrivals.emplace_back(f, i, step_of[i], after, f.em(after), f.es(after));
        }
    }

    // -log softmax(-t/tau0) + alpha (exp(t_y/tau1) - 1) on first spikes; see snnmodels.losses.TTFSCrossEntropy
    double first_spikes(int b, int label) {
        Events& e = trials[b].output;
        first.assign(s.n_out, -1);
        for (int k = 0; k < int(e.spikes.size()); k++) {
            int& at = first[e.arrivals[k].source];
            if (at < 0) at = k;
        }
        if (first[label] < 0) return std::log(s.n_out);
        const auto time = [&](int j) { return e.arrivals[first[j]].step * s.dt + e.spikes[first[j]].r; };
        double earliest = time(label), total = 0;
        for (int j = 0; j < s.n_out; j++)
            if (first[j] >= 0) earliest = std::min(earliest, time(j));
        for (int j = 0; j < s.n_out; j++)
            if (first[j] >= 0) total += std::exp((earliest - time(j)) / s.tau0);
        for (int j = 0; j < s.n_out; j++)
            if (first[j] >= 0)
                e.spikes[first[j]].sensitivity = -std::exp((earliest - time(j)) / s.tau0) / total / s.tau0 / used;
        const double t = time(label), early = std::expm1(t / s.tau1);
        e.spikes[first[label]].sensitivity += (1 / s.tau0 + s.alpha / s.tau1 * (early + 1)) / used;
        return std::log(total) + (t - earliest) / s.tau0 + s.alpha * early;
    }

    // -log softmax of the maxima
    double maxima(int b, int label) {
        Trial& t = trials[b];
        double top = t.peaks[0].value, total = 0;
        for (const Peak& p : t.peaks) top = std::max(top, p.value);
        for (const Peak& p : t.peaks) total += std::exp(p.value - top);
        t.error.resize(s.n_out);
        for (int j = 0; j < s.n_out; j++)
            t.error[j] = (std::exp(t.peaks[j].value - top) / total - (j == label)) / used;
        return std::log(total) - (t.peaks[label].value - top);
    }

    // The loss on peaks: the costates at the end of step n, and the spikes whose arrivals peaks coincide with.
    void at_peaks(Trial& t, int n) {
        for (int j = 0; j < s.n_out; j++) {
            const Peak& p = t.peaks[j];
            if (p.origin == n + 1) output_bar.add(j, t.error[j] * p.em, t.error[j] * p.k);
            if (p.step == n)
                for (int e = t.hidden.start[n]; e < t.hidden.start[n + 1]; e++)
                    if (t.hidden.arrivals[e].source == p.source) t.hidden.spikes[e].sensitivity += t.error[j] * p.rate;
        }
    }

    Lif hidden, output;
    Readout readout;
    Costates hidden_bar, output_bar;
    std::vector<Trial> trials;
    std::vector<int> step_of, order, place, first;
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
}
