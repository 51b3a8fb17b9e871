"""Parameters by a schema file that the script itself has made, as in 2018."""

import json

from azureml.webservice_schema.data_types import DataTypes
from azureml.webservice_schema.sample_definition import SampleDefinition
from azureml.webservice_schema.schema_generation import generate_schema


def init():
    pass


def run(input_df):
    return json.dumps(str(input_df["a"].sum()))


def main():
    import pandas

    df = pandas.DataFrame(data=[[1.0, 2]], columns=["a", "b"])
    inputs = {"input_df": SampleDefinition(DataTypes.PANDAS, df)}
    generate_schema(run_func=run, inputs=inputs, filepath="./outputs/service_schema.json")


if __name__ == "__main__":
    main()
