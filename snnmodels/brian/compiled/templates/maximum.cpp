{# USES_VARIABLES { t_in_timesteps, dt } #}
{# ALLOWS_SCALAR_WRITE #}
{% extends 'common_group.cpp' %}
{% block extra_headers %}{{headers}}{% endblock %}

{# Maximum of a state so far: up to the first arrival of the step along the flow from its start, after the last arrival
   along the flow to its end; see observation.py #}
{% block maincode %}
    {% macro a(name) %}{{get_array_name(variables['_snn_' + name])}}{% endmacro %}
    const double dt = {{dt}};
    const int _step = {{t_in_timesteps}};
    {% for p in shared %}
    const double {{p}} = {{a(p)}}[0];
    {% endfor %}
    {{observe.outer|join('\n')|autoindent}}
    {{peak.outer|join('\n')|autoindent}}
    for (int _i = 0; _i < {{n}}; _i++)
    {
        {% for p in arrays %}
        const double {{p}} = {{a(p)}}[_i];
        {% endfor %}
        const bool _has = {{a('first_id')}}[_i] >= 0;
        {% for piece in pieces %}
        {% if piece.after %}if (_has){% endif %}
        {
            {% for x in states %}
            const double {{x}} = {{a(x if piece.after else x + '_start')}}[_i];
            {% endfor %}
            auto _observe = [&](const double r_event, double* _rate) -> double
            {
                {{observe.inner|join('\n')|autoindent}}
                *_rate = {{observe.outputs['rate']}};
                return {{observe.outputs['value']}};
            };
            auto _falling = [&](const double r_event, double* _slope) -> double
            {
                {{peak.inner|join('\n')|autoindent}}
                *_slope = {{peak.outputs['slope']}};
                return {{peak.outputs['value']}};
            };
            {% if piece.after %}
            const double _low = -{{a('final_s')}}[_i], _high = 0;
            {% else %}
            const double _low = 0, _high = _has ? dt - {{a('first_s')}}[_i] : dt;
            {% endif %}
            double _r = _low, _value, _rate, _rate_low, _rate_high;
            const double _here = {{variable}}, _rate_here = {{rate_here}};
            {% if piece.after %}
            const double _value_low = _observe(_low, &_rate_low), _value_high = _here;
            _rate_high = _rate_here;
            if (_rate_low <= 0) { _r = _low; _value = _value_low; _rate = _rate_low; }
            else if (_rate_high >= 0) { _r = _high; _value = _value_high; _rate = _rate_high; }
            {% else %}
            const double _value_low = _here;
            _rate_low = _rate_here;
            double _value_high = 0;
            if (_rate_low <= 0) { _r = _low; _value = _value_low; _rate = _rate_low; }
            else if ((_value_high = _observe(_high, &_rate_high)), _rate_high >= 0)
            {
                _r = _high; _value = _value_high; _rate = _rate_high;
            }
            {% endif %}
            else
            {
                const double _guess = _low + (_high - _low)*_rate_low/(_rate_low - _rate_high);
                _r = snn_root(_falling, _low, _high, _guess);
                _value = _observe(_r, &_rate);
            }
            const bool _kink = {% if piece.after %}_r <= _low{% else %}_has && _r >= _high{% endif %};
            // an arrival at a grid point: the step before has found this value already, but not that it is a kink
            if (_value > {{a('max_value')}}[_i] - (_kink ? {{same}}*fabs({{a('max_value')}}[_i]) : 0.0))
            {
                {{a('max_value')}}[_i] = _value;
                {{a('max_r')}}[_i] = _r;
                {{a('max_rate')}}[_i] = _rate;
                {{a('max_origin')}}[_i] = _step{% if piece.after %} + 1{% endif %};
                {{a('max_arrival')}}[_i] = _kink ? _step : -1;
                {{a('max_id')}}[_i] = {{a('final_id' if piece.after else 'first_id')}}[_i];
                {% for x in kept %}
                {{a('max_x_' + x)}}[_i] = {{x}};
                {% endfor %}
            }
        }
        {% endfor %}
        {{a('first_id')}}[_i] = {{a('final_id')}}[_i] = -1;
    }
{% endblock %}
