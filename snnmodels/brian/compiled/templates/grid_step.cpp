{# USES_VARIABLES { t_in_timesteps, dt } #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.cpp' %}
{% block extra_headers %}{{headers}}{% endblock %}

{# One step of a population: update of all neurons in blocks, spikes tested block by block and resolved where they are #}
{% block maincode %}
    {% macro a(name) %}{{get_array_name(variables['_snn_' + name])}}{% endmacro %}
    const double dt = {{dt}};
    const int _n = {{n}};
    const int _step = {{t_in_timesteps}};
    {% for p in shared %}
    const double {{p}} = {{a(p)}}[0];
    {% endfor %}
    {% for p in arrays %}
    const auto* __restrict _p_{{p}} = {{a(p)}};
    {% endfor %}
    {% for x in states %}
    auto* __restrict _x_{{x}} = {{a(x)}};
    {% endfor %}
    {{step.outer|join('\n')|autoindent}}
    {% if spiking %}
    {{crossing.outer|join('\n')|autoindent}}
    {{event.outer|join('\n')|autoindent}}
    int32_t* __restrict _now = {{a('ev_now')}};
    int32_t* __restrict _ends = {{a('ev_end')}};
    int _count = 0;
    int _stored = _ends[_step];
    {% endif %}
    for (int _b = 0; _b < _n; _b += {{block}})
    {
        const int _m = std::min({{block}}, _n - _b);
        {% for x in states %}
        double _new_{{x}}[{{block}}];
        {% endfor %}
        uint64_t _marked = 0; // a bit for each neuron that may have spiked
        for (int _j = 0; _j < _m; _j++)
        {
            {% for p in arrays %}
            const double {{p}} = _p_{{p}}[_b + _j];
            {% endfor %}
            {% for x in states %}
            const double {{x}} = _x_{{x}}[_b + _j];
            {% endfor %}
            {{step.inner|join('\n')|autoindent}}
            {% for x in states %}
            const double _o_{{x}} = {{step.outputs[x]}};
            _new_{{x}}[_j] = _o_{{x}};
            {% endfor %}
            {% if spiking %}
            _marked |= ({{condition_after}}) {{'| (' + condition_before + ')' if precise else ''}} ? snn_bit[_j] : 0;
            {% endif %}
        }
        {% if caused %}
        for (int _j = 0; _j < _m; _j++)
            _marked |= ({{a('alone_id')}}[_b + _j] >= 0) | ({{a('last_id')}}[_b + _j] >= 0) ? snn_bit[_j] : 0;
        {% endif %}
        {% if spiking %}
        for (; _marked; _marked &= _marked - 1)
        {
            const int _j = __builtin_ctzll(_marked), _i = _b + _j;
            {% for p in arrays %}
            const double {{p}} = _p_{{p}}[_i];
            {% endfor %}
            {% for x in states %}
            const double {{x}} = _x_{{x}}[_i];
            const double _o_{{x}} = _new_{{x}}[_j];
            {% endfor %}
            {% if precise %}
            const bool _above = {{condition_before}};
            {% if caused %}
            const int _alone = {{a('alone_id')}}[_i], _last = {{a('last_id')}}[_i];
            const int _cause = _alone >= 0 ? _alone : _last;
            const double _cause_s = _alone >= 0 ? {{a('alone_s')}}[_i] : {{a('last_s')}}[_i];
            if (!(_above || ({{condition_after}}) || _cause >= 0)) continue;
            {% else %}
            const int _cause = -1;
            if (!(_above || ({{condition_after}}))) continue;
            {% endif %}
            {% else %}
            const int _cause = -1;
            if (!({{condition_after}})) continue;
            {% endif %}
            double r_event = dt, _free = 1;
            {% if precise %}
            if (_cause >= 0)
            {
                {% if caused %}
                r_event = -_cause_s;
                _free = 0;
                {% endif %}
            }
            else
            {
                auto _evaluate = [&](const double r_event, double* _slope) -> double
                {
                    {{crossing.inner|join('\n')|autoindent}}
                    *_slope = {{crossing.outputs['slope']}};
                    return {{crossing.outputs['value']}};
                };
                double _slope;
                if (_above)
                {
                    // arrivals of the last step did it: the crossing lies there, but after the last event
                    const double _low = -std::min((_step - {{a('last_step')}}[_i])*dt - {{a('last_r')}}[_i], dt);
                    const double _value_low = _evaluate(_low, &_slope), _value = {{value_before}};
                    if (_value_low > 0)
                    {
                        r_event = _low;
                        _free = 0;
                        {{a('unresolved_events')}}[0]++;
                    }
                    else r_event = snn_root(_evaluate, _low, 0.0, -_low*_value/(_value_low - _value));
                }
                else
                {
                    const double _value = {{value_before}}, _value_high = {{value_after}}, _speed = {{speed}};
                    // start from the parabola through both values with the slope at the start
                    const double _bend = (_value_high - _value - _speed*dt)/(dt*dt);
                    const double _root = _speed*_speed - 4*_bend*_value;
                    double _guess = _root > 0 ? -2*_value/(_speed + std::sqrt(_root)) : -1;
                    if (!(_guess > 0 && _guess < dt)) _guess = dt*_value/(_value - _value_high);
                    r_event = snn_root(_evaluate, 0.0, dt, _guess);
                }
            }
            {{a('last_step')}}[_i] = _step;
            {{a('last_r')}}[_i] = r_event;
            {{a('s_arrival')}}[_i] = dt - r_event;
            {% else %}
            {{a('s_arrival')}}[_i] = 0;
            {% endif %}
            _now[_count++] = _i;
            if (_stored < {{capacity}})
            {
                {{a('ev_neuron')}}[_stored] = _i;
                {{a('ev_r')}}[_stored] = r_event;
                {{a('ev_free')}}[_stored] = _free;
                {% if caused %}
                {{a('ev_cause')}}[_stored] = _cause;
                {% endif %}
                {% for x in recorded_at_events %}
                {{a('ev_x_' + x)}}[_stored] = {{x}};
                {% endfor %}
                _stored++;
            }
            else {{a('lost_events')}}[0]++;
            {{event.inner|join('\n')|autoindent}}
            {% for x in states %}
            _new_{{x}}[_j] = {{event.outputs[x]}};
            {% endfor %}
        }
        {% endif %}
        {% for x in recorded %}
        std::copy(_x_{{x}} + _b, _x_{{x}} + _b + _m, {{a('tr_' + x)}} + (size_t)_step*_n + _b);
        {% endfor %}
        {% if keeps_start %}
        {% for x in states %}
        std::copy(_x_{{x}} + _b, _x_{{x}} + _b + _m, {{a(x + '_start')}} + _b);
        {% endfor %}
        {% endif %}
        {% for x in states %}
        std::copy(_new_{{x}}, _new_{{x}} + _m, _x_{{x}} + _b);
        {% endfor %}
        {% if keeps_base %}
        {% for x in states %}
        std::copy(_new_{{x}}, _new_{{x}} + _m, {{a(x + '_base')}} + _b);
        {% endfor %}
        {% for x in recorded_base %}
        std::copy(_new_{{x}}, _new_{{x}} + _m, {{a('tb_' + x)}} + (size_t)_step*_n + _b);
        {% endfor %}
        {% endif %}
        {% if caused %}
        for (int _i = _b; _i < _b + _m; _i++) {{a('alone_id')}}[_i] = {{a('last_id')}}[_i] = -1;
        {% endif %}
    }
    {% if spiking %}
    _now[_n] = _count;
    _ends[_step + 1] = _stored;
    {% endif %}
{% endblock %}
