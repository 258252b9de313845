{# USES_VARIABLES { dt } #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.cpp' %}

{# First and last arrival of the step by a dense projection: all targets of a trial have the same #}
{% block maincode %}
    {% macro a(name) %}{{get_array_name(variables['_snn_' + name])}}{% endmacro %}
    const int32_t* __restrict _now = {{a('ev_now')}};
    const auto* __restrict _s = {{a('s_arrival')}};
    const int _spikes = _now[{{batch*n_source}}];
    for (int _q = 0; _q < _spikes;)
    {
        const int _trial = _now[_q]/{{n_source}}, _past = (_trial + 1)*{{n_source}};
        int _first = _now[_q], _final = _first;
        for (; _q < _spikes && _now[_q] < _past; _q++)
        {
            if (_s[_now[_q]] > _s[_first]) _first = _now[_q];
            if (_s[_now[_q]] < _s[_final]) _final = _now[_q];
        }
        for (int _i = _trial*{{n_target}}; _i < (_trial + 1)*{{n_target}}; _i++)
        {
            if ({{a('first_id')}}[_i] < 0 || _s[_first] > {{a('first_s')}}[_i])
            {
                {{a('first_s')}}[_i] = _s[_first];
                {{a('first_id')}}[_i] = {{base}} + _first;
            }
            if ({{a('final_id')}}[_i] < 0 || _s[_final] < {{a('final_s')}}[_i])
            {
                {{a('final_s')}}[_i] = _s[_final];
                {{a('final_id')}}[_i] = {{base}} + _final;
            }
        }
    }
{% endblock %}
