{# USES_VARIABLES { t_in_timesteps, dt } #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.cpp' %}
{% block extra_headers %}{{headers}}{% endblock %}

{# Backward: each spike of the source gathers the costates of its targets and adds to one row of the weight gradient #}
{% block maincode %}
    {% macro a(name) %}{{get_array_name(variables['_snn_' + name])}}{% endmacro %}
    const double dt = {{dt}};
    const int32_t* __restrict _now = {{a('ev_now')}};
    const int _spikes = _now[{{batch*n_source}}];
    if (!_spikes) return;
    const auto* __restrict _w = {{a('w')}};
    {% if learns_weights %}
    auto* __restrict _gw = {{a('gw')}};
    {% endif %}
    {% for p in shared %}
    const double {{p}} = {{a(p)}}[0];
    {% endfor %}
    {% for p in arrays %}
    const auto* __restrict _p_{{p}} = {{a(p)}};
    {% endfor %}
    {% if observed %}
    const int _step = {{steps}} - 1 - {{t_in_timesteps}};
    int _looked = -1;
    bool _kink = false;
    {% endif %}
    for (int _q = 0; _q < _spikes; _q++)
    {
        const int _source = _now[_q];
        const int _trial = _source/{{n_source}}, _row = _source % {{n_source}};
        const double s_arrival = {{a('s_arrival')}}[_source];
        const int _first = _trial*{{n_target}};
        {% if not sparse %}
        if (_q + 1 < _spikes)
        {
            const int _next = (_now[_q + 1] % {{n_source}})*{{n_target}};
            {% if times %}
            snn_fetch(_w + _next, {{n_target}});
            {% endif %}
            {% if learns_weights %}
            snn_fetch(_gw + _next, {{n_target}});
            {% endif %}
        }
        {% endif %}
        {% for x in states %}
        const auto* __restrict _l_{{x}} = {{a('lambda_' + x)}} + _first;
        {% endfor %}
        {{gather.outer|join('\n')|autoindent}}
        {% if times %}
        double _time = 0;
        {% endif %}
        {% if sparse %}
        for (int _k = {{a('rows')}}[_row]; _k < {{a('rows')}}[_row + 1]; _k++)
        {
            const int _j = {{a('columns')}}[_k];
        {% else %}
        const int _k0 = _row*{{n_target}};
        {% if simple %}
        #pragma omp simd {{'reduction(+:_time)' if times else ''}}
        {% endif %}
        for (int _j = 0; _j < {{n_target}}; _j++)
        {
            const int _k = _k0 + _j;
        {% endif %}
            const double {{weight}} = _w[_k];
            {% for p in arrays %}
            const double {{p}} = _p_{{p}}[_first + _j];
            {% endfor %}
            {% for x in states %}
            const double lambda_{{x}} = _l_{{x}}[_j];
            {% endfor %}
            {% for x in recorded_base %}
            const double {{x}} = {{a('keep_' + x)}}[_first + _j];
            {% endfor %}
            {{gather.inner|join('\n')|autoindent}}
            {% if times %}
            _time += {{gather.outputs['time']}};
            {% endif %}
            {% if learns_weights %}
            _gw[_k] += {{gather.outputs['w']}};
            {% endif %}
            {% for x in added %}
            {{a('added_lambda_' + x)}}[_first + _j] += {{gather.outputs[x]}};
            {% endfor %}
            {% for q in parameters %}
            {{a('grad_' + q)}}[_first + _j] += {{gather.outputs[q]}};
            {% endfor %}
            {% if caused %}
            if ({{a('cause_id')}}[_first + _j] == {{base}} + _source) _time += {{a('cause_sigma')}}[_first + _j];
            {% endif %}
        }
        {% if observed %}
        // a maximum at the arrival itself moves with it
        if (_trial != _looked)
        {
            _looked = _trial;
            _kink = false;
            for (int _i = _first; _i < _first + {{n_target}}; _i++) _kink |= {{a('max_arrival')}}[_i] == _step;
        }
        if (_kink)
            for (int _i = _first; _i < _first + {{n_target}}; _i++)
                if ({{a('max_arrival')}}[_i] == _step && {{a('max_id')}}[_i] == {{base}} + _source)
                    _time += {{a('max_error')}}[_i]*{{a('max_rate')}}[_i];
        {% endif %}
        {% if times %}
        {{a('q_time')}}[_source] += _time;
        {% endif %}
    }
{% endblock %}
