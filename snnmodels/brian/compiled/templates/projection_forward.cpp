{# USES_VARIABLES { dt } #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.cpp' %}
{% block extra_headers %}{{headers}}{% endblock %}

{# Arrivals: each spike of the source adds one row of weights, carried to the end of the step #}
{% block maincode %}
    {% macro a(name) %}{{get_array_name(variables['_snn_' + name])}}{% endmacro %}
    const double dt = {{dt}};
    const int32_t* __restrict _now = {{a('ev_now')}};
    const int _spikes = _now[{{batch*n_source}}];
    if (!_spikes) return;
    const auto* __restrict _w = {{a('w')}};
    {% for p in shared %}
    const double {{p}} = {{a(p)}}[0];
    {% endfor %}
    {% for p in arrays %}
    const auto* __restrict _p_{{p}} = {{a(p)}};
    {% endfor %}
    {% for k in range(paths|length) %}
    {% set path = paths[k] %}
    for (int _q = 0; _q < _spikes; _q++)
    {
        const int _source = _now[_q];
        const int _trial = _source/{{n_source}}, _row = _source % {{n_source}};
        const double s_arrival = {{a('s_arrival')}}[_source];
        const int _first = _trial*{{n_target}};
        {% if not sparse %}
        if (_q + 1 < _spikes) snn_fetch(_w + (_now[_q + 1] % {{n_source}})*{{n_target}}, {{n_target}});
        {% endif %}
        {% for x in states %}
        auto* __restrict _x_{{x}} = {{a(x)}} + _first;
        {% endfor %}
        {{path.lines.outer|join('\n')|autoindent}}
        {% if sparse %}
        for (int _k = {{a('rows')}}[_row]; _k < {{a('rows')}}[_row + 1]; _k++)
        {
            const int _j = {{a('columns')}}[_k];
        {% else %}
        const int _k0 = _row*{{n_target}};
        for (int _j = 0; _j < {{n_target}}; _j++)
        {
            const int _k = _k0 + _j;
        {% endif %}
            const double {{weight}} = _w[_k];
            {% for p in arrays %}
            const double {{p}} = _p_{{p}}[_first + _j];
            {% endfor %}
            {% for x, source in path.reads.items() %}
            const double {{x}} = {{a(source)}}[_first + _j];
            {% endfor %}
            {{path.lines.inner|join('\n')|autoindent}}
            {{path.last|join('\n')|autoindent}}
        }
    }
    {% endfor %}
{% endblock %}
