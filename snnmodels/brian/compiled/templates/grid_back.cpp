{# USES_VARIABLES { t_in_timesteps, dt } #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.cpp' %}
{% block extra_headers %}{{headers}}{% endblock %}

{# One step of the adjoint, backward: jumps at the events of the step, the adjoint flow for everybody else #}
{% block maincode %}
    {% macro a(name) %}{{get_array_name(variables['_snn_' + name])}}{% endmacro %}
    const double dt = {{dt}};
    const int _n = {{n}};
    const int _step = {{steps}} - 1 - {{t_in_timesteps}};
    {% for p in shared %}
    const double {{p}} = {{a(p)}}[0];
    {% endfor %}
    {% for p in arrays %}
    const auto* __restrict _p_{{p}} = {{a(p)}};
    {% endfor %}
    {% for x in states %}
    auto* __restrict _l_{{x}} = {{a('lambda_' + x)}};
    {% endfor %}
    {% for q in learnable %}
    auto* __restrict _g_{{q}} = {{a('grad_' + q)}};
    {% endfor %}
    {% if coupled %}
    {% for x in states %}
    for (int _i = 0; _i < _n; _i++) _l_{{x}}[_i] += {{a('added_lambda_' + x)}}[_i];
    {% endfor %}
    {% endif %}
    {% if spiking %}
    // jumps first, into a buffer: they read the costates at the end of the step, and their neurons don't take the flow's
    const int _first = {{a('ev_end')}}[_step], _past = {{a('ev_end')}}[_step + 1];
    static std::vector<double> _jumped;
    _jumped.resize((size_t)(_past - _first)*{{width}} + 1);
    {% if caused %}
    std::fill({{a('cause_id')}}, {{a('cause_id')}} + _n, -1);
    {% endif %}
    {
    {{event.outer|join('\n')|autoindent}}
    for (int _k = _first; _k < _past; _k++)
    {
        const int _i = {{a('ev_neuron')}}[_k];
        const double r_event = {{a('ev_r')}}[_k], free_event = {{a('ev_free')}}[_k];
        {% for p in arrays %}
        const double {{p}} = _p_{{p}}[_i];
        {% endfor %}
        {% for x in recorded_at_events %}
        const double {{x}} = {{a('ev_x_' + x)}}[_k];
        {% endfor %}
        {% for x in states %}
        const double lambda_{{x}} = _l_{{x}}[_i];
        {% endfor %}
        const double q_time = {{a('q_time')}}[_i]{% if output %} + {{a('ev_dl')}}[_k]{% endif %};
        {{a('q_time')}}[_i] = 0;
        {{event.inner|join('\n')|autoindent}}
        double* _out = &_jumped[(size_t)(_k - _first)*{{width}}];
        {% for x in states %}
        _out[{{loop.index0}}] = {{event.outputs[x]}};
        {% endfor %}
        {% for q in learnable %}
        _out[{{states|length + loop.index0}}] = _g_{{q}}[_i] + {{event.outputs[q]}};
        {% endfor %}
        const double _slope = {{event.outputs['slope']}};
        if (free_event > 0.5 && _slope < {{a('smallest_slope')}}[0]) {{a('smallest_slope')}}[0] = _slope;
        {% if caused %}
        if ({{a('ev_cause')}}[_k] >= 0)
        {
            {{a('cause_id')}}[_i] = {{a('ev_cause')}}[_k];
            {{a('cause_sigma')}}[_i] = {{event.outputs['sigma']}};
        }
        {% endif %}
    }
    }
    {% endif %}
    {{step.outer|join('\n')|autoindent}}
    for (int _i = 0; _i < _n; _i++)
    {
        {% for p in arrays %}
        const double {{p}} = _p_{{p}}[_i];
        {% endfor %}
        {% for x in recorded %}
        const double {{x}} = {{a('tr_' + x)}}[(size_t)_step*_n + _i];
        {% endfor %}
        {% for x in states %}
        const double lambda_{{x}} = _l_{{x}}[_i];
        {% endfor %}
        {{step.inner|join('\n')|autoindent}}
        {% for x in states %}
        const double _o_{{x}} = {{step.outputs[x]}};
        {% endfor %}
        {% for q in learnable %}
        const double _o_{{q}} = {{step.outputs[q]}};
        {% endfor %}
        {% for x in states %}
        _l_{{x}}[_i] = _o_{{x}};
        {% endfor %}
        {% for q in learnable %}
        _g_{{q}}[_i] += _o_{{q}};
        {% endfor %}
    }
    {% if spiking %}
    for (int _k = _first; _k < _past; _k++)
    {
        const int _i = {{a('ev_neuron')}}[_k];
        {% for x in states %}
        _l_{{x}}[_i] = _jumped[(size_t)(_k - _first)*{{width}} + {{loop.index0}}];
        {% endfor %}
        {% for q in learnable %}
        _g_{{q}}[_i] = _jumped[(size_t)(_k - _first)*{{width}} + {{states|length + loop.index0}}];
        {% endfor %}
    }
    {% endif %}
{% endblock %}
